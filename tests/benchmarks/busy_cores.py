"""Training while other programs keep the cores busy: how long PyTorch's threads wait by counting.

``python -m tests.benchmarks.busy_cores``: examples a second of P-tuning with two threads, with GNU OpenMP's own setting
and with the one that the package sets, on free cores and beside two busy programs a core.
"""

import os
import subprocess
import sys
from contextlib import ExitStack

SETTINGS = {"GNU OpenMP's default": "300000", "the package's": "1000"}
BUSY, BUSY_PER_CORE = "while True: pass", 2
TRAIN = """
import time
import fedprompt_helpers as fp
import torch

torch.set_num_threads(2)
task = fp.load_task("intents", ["cy"], train_size=96)
model, tokenizer = fp.load_backbone(num_labels=len(task.labels))
model, data = fp.prepare(model, "p-tuning"), fp.encode(task.data["cy"]["train"], tokenizer)
for _ in range(2):  # the first time is for warming up
    began = time.perf_counter()
    fp.train(model, data, epochs=1, batch_size=16)
print(len(data.labels) / (time.perf_counter() - began))
"""


def rate(spins: str) -> float:
    """Train in a process of its own, and give examples a second."""
    command, setting = [sys.executable, "-c", TRAIN], {"GOMP_SPINCOUNT": spins}
    done = subprocess.run(command, env=os.environ | setting, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the table."""
    print(f"{'':24}{'free cores':>12}{'busy cores':>12}   examples a second")
    for name, spins in SETTINGS.items():
        free = rate(spins)
        with ExitStack() as stack:
            for _ in range(BUSY_PER_CORE * (os.cpu_count() or 1)):
                busy = subprocess.Popen([sys.executable, "-c", BUSY])
                stack.callback(busy.wait)
                stack.callback(busy.kill)
            print(f"{name:24}{free:12.0f}{rate(spins):12.1f}")


if __name__ == "__main__":
    main()
