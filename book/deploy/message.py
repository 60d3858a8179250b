"""What one message to a SuperNode costs in processor seconds, which do not depend on what else a machine does."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from .folders import write_folders

TARGET = Path(__file__).resolve().parents[1] / "results" / "deploy" / "message.csv"
RUN = """
import sys, time
marks = [time.process_time()]
import fedprompt_helpers.runs
from fedprompt_helpers.clients import model, part
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.model.training import evaluate, train
from fedprompt_helpers.data.tasks import task_labels
marks.append(time.process_time())
labels = task_labels("intents")
config = RunConfig(task="own", data_dir=sys.argv[1], languages=("en", "cy"), train_size=48)
frozen = model(config, labels, "cpu")
marks.append(time.process_time())
held = part(config, 0, labels)
marks.append(time.process_time())
train(frozen.model, held.train, epochs=3, learning_rate=0.004, batch_size=8, seed=0, patience=None)
marks.append(time.process_time())
print(*marks)
"""
STEPS = ("import PyTorch and Flower", "load the backbone", "read and cut the texts", "train three epochs")


def measure() -> None:
    """Do what a SuperNode does for a train message in a fresh process, and write down its processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        write_folders(Path(folder), ("en", "cy"))
        command = [sys.executable, "-c", RUN, folder]
        marks = [float(x) for x in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with TARGET.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("step", "processor_seconds"))
        steps = zip(STEPS, marks[1:], marks[:-1], strict=True)
        writer.writerows((step, round(after - before, 2)) for step, after, before in steps)
    print(TARGET.read_text("utf-8"))
