"""What a federation costs beside plain code, as ratios in one run: ``python -m tests.benchmarks.simulation``.

*Grid against bare loop.* The bare loop trains and scores the same clients with the same functions and averages by
hand; nothing of Flower is in it. Once on one core, the clients one after the other, and once on all, in as many
processes of one thread. The two take turns. Their losses must be the same.

*Start.* Seconds from the call of ``simulate`` until the first client trains, with everything imported; seconds of a
whole process that only wants a configuration, and of one that prints a results table.

*Memory.* The proportional set size of a whole federation in its last round, with 5 clients and with 50: shared pages
count once.

On busy cores seconds of the clock say little: the processor's seconds of a process stand beside them.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch

from fedprompt_helpers import RunConfig, simulate
from fedprompt_helpers.clients import derive_seed, model, part, scored_by
from fedprompt_helpers.data.tasks import task_labels
from fedprompt_helpers.federation import client as client_module
from fedprompt_helpers.federation.grid import usable_cores
from fedprompt_helpers.model.training import evaluate, get_arrays, set_arrays, train

ROOT = Path(__file__).resolve().parents[2]
CONFIG = RunConfig(languages=("en", "de", "cy", "ga"), train_size=24, dev_size=24, rounds=2)
LABELS = task_labels(CONFIG.data.task) or ()
TARGETS = {"ratio": 1.02, "start": 2.0, "configuration": 0.5, "table": 1.5, "memory": 1.1}


def train_client(config: RunConfig, client: int, number: int, arrays: dict) -> tuple[dict, int]:
    """Do what the ClientApp does in a round of training."""
    held, frozen, training = part(config, client, LABELS), model(config, LABELS).model, config.training
    set_arrays(frozen, arrays)
    options = {"epochs": training.local_epochs, "learning_rate": training.learning_rate, "patience": None}
    seed = derive_seed(config.seed, number, client)
    train(frozen, held.train, batch_size=training.batch_size, seed=seed, **options)
    return get_arrays(frozen), len(held.train.labels)


def score_client(config: RunConfig, client: int, arrays: dict) -> list[float]:
    """Do what the ClientApp does in a round of scoring."""
    frozen = model(config, LABELS).model
    set_arrays(frozen, arrays)
    return [evaluate(frozen, split).loss for split in part(config, client, LABELS).dev.values()]


def bare_loop(config: RunConfig, call) -> tuple[list[float], list[float]]:
    """Return seconds and mean dev loss of each round; `call` gives a function its arguments, client after client."""
    arrays, seconds, losses = model(config, LABELS).initial, [], []
    names = range(config.clients)
    for i in names:
        assert scored_by(config, i)
    call(score_client, [(config, i, arrays) for i in names])  # tokenises everything
    for number in range(1, config.federation.rounds + 1):
        began = time.perf_counter()
        replies = call(train_client, [(config, i, number, arrays) for i in names])
        total = sum(n for _, n in replies)
        arrays = {name: sum(n / total * a[name] for a, n in replies) for name in arrays}
        dev = call(score_client, [(config, i, arrays) for i in names])
        seconds.append(time.perf_counter() - began)
        losses.append(float(np.mean([loss for one in dev for loss in one])))
    return seconds, losses


@contextmanager
def processes(count: int):
    """Give a function that calls another for each of several arguments, in so many processes."""
    if count == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield lambda function, arguments: [function(*given) for given in arguments]
        torch.set_num_threads(threads)
        return
    with multiprocessing.get_context("fork").Pool(count, torch.set_num_threads, (1,)) as pool:
        yield lambda function, arguments: pool.starmap(function, arguments, chunksize=1)


@contextmanager
def cores(count: int):
    """Use so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    yield
    os.sched_setaffinity(0, before)


def compare(turns: int, count: int) -> tuple[list[float], list[float], float]:
    """Return the seconds of each round, of the grid and of the bare loop, and the largest difference in dev loss."""
    ours, bare, difference = [], [], 0.0
    with cores(count):
        for _ in range(turns):
            entries = []
            simulate(CONFIG, entries.append)
            ours += [entry["seconds"] for entry in entries]
            with processes(count) as call:
                seconds, losses = bare_loop(CONFIG, call)
            bare += seconds
            both = zip(entries, losses, strict=True)
            difference = max(difference, *(abs(entry["dev_loss"] - loss) for entry, loss in both))
    return ours, bare, difference


def start_up(config: RunConfig) -> float:
    """Seconds from the call to the first client at work."""
    original = client_module.train
    with tempfile.TemporaryDirectory() as folder:
        stamp = Path(folder) / "stamp"

        def noting(*given, **options):
            if not stamp.exists():
                stamp.write_text(str(time.time()))
            return original(*given, **options)

        client_module.train = noting  # forked processes have it
        try:
            began = time.time()
            simulate(config)
            return float(stamp.read_text()) - began
        finally:
            client_module.train = original


def process_seconds(*arguments: str, times: int = 3) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a Python process takes, the median of some."""
    took = []
    for _ in range(times):
        began, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        worked = after.children_user + after.children_system - before.children_user - before.children_system
        took.append((time.perf_counter() - began, worked))
    return float(np.median([clock for clock, _ in took])), float(np.median([worked for _, worked in took]))


def memory_in_use() -> float:
    """Proportional set size of this process and those of the clients, in MB."""
    own = psutil.Process()
    return sum(process.memory_full_info().pss for process in (own, *own.children(recursive=True))) / 1e6


def row(what: str, value: str, target: float | None = None) -> None:
    """Print a line of the table."""
    print(f"{what:<58}{value:>24}{f'  at most {target}' if target else ''}", flush=True)


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="how often grid and bare loop take turns")
    turns = parser.parse_args().turns
    short = RunConfig(train_size=8, rounds=1, local_epochs=1)
    row("from the call to the first client at work", f"{start_up(short):.2f} s", TARGETS["start"])
    row("the same, second run in one process", f"{start_up(short.replace(seed=1)):.2f} s", TARGETS["start"])
    sweep = sorted((ROOT / "book" / "results" / "sweeps").glob("*.toml"))[0].relative_to(ROOT)
    code = "from fedprompt_helpers import RunConfig"
    for what, name, given in (
        (code, "configuration", ("-c", code)),
        ("a results table", "table", ("-m", "book.research", "table", str(sweep))),
    ):
        clock, worked = process_seconds(*given)
        row(f"a process: {what}", f"{clock:.2f} s, cpu {worked:.2f} s", TARGETS[name])
    memory = {}
    for clients in (5, 50):
        config = RunConfig(train_size=64, dev_size=20, rounds=2, local_epochs=1, partition="iid", clients=clients)
        simulate(config, lambda _, clients=clients: memory.update({clients: memory_in_use()}))
        row(f"memory of all processes, {clients} clients", f"{memory[clients]:.0f} MB")
    row("ratio", f"{memory[50] / memory[5]:.3f}", TARGETS["memory"])
    for count in sorted({1, usable_cores()}):
        ours, bare, difference = compare(turns, count)
        where = f"{count} {'core' if count == 1 else 'cores'}"
        row(f"a round on {where}: grid", f"{np.median(ours):.2f} s")
        row(f"a round on {where}: bare loop", f"{np.median(bare):.2f} s")
        row("ratio of the medians", f"{np.median(ours) / np.median(bare):.3f}", TARGETS["ratio"])
        row("ratio of the fastest rounds", f"{min(ours) / min(bare):.3f}", TARGETS["ratio"])
        row("largest difference in dev loss", f"{difference:.0e}")


if __name__ == "__main__":
    main()
