"""Flower's simulation against a bare loop, start-up time, and memory: ``python -m tests.benchmarks.simulation``.

The bare loop does the same local training and the same scoring of the same arrays, in as many processes of one thread,
and averages by hand; nothing of Flower is in it. Start-up is the time from the call until a client holds its first
message to train. Memory is the proportional set size of the whole federation in its last round, with 5 clients and
with 50: shared pages count once.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from fedprompt_helpers import simulation, tuning
from fedprompt_helpers.clients import derive_seed, load_clients
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.federation import simulate

CONFIG = RunConfig(train_size=64, rounds=3, local_epochs=2)


def train(config: RunConfig, client: int, number: int, arrays: dict) -> tuple[dict, int]:
    """Do what the ClientApp does in a round of training."""
    torch.set_num_threads(1)
    clients = load_clients(config)
    tuning.load_arrays(clients.model, arrays)
    tuning.train(
        clients.model,
        clients.train[client],
        epochs=config.local_epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        patience=None,
        seed=derive_seed(config.seed, number, client),
    )
    return tuning.trainable_arrays(clients.model), len(clients.train[client].labels)


def score(config: RunConfig, client: int, arrays: dict) -> list[float]:
    """Do what the ClientApp does in a round of scoring."""
    torch.set_num_threads(1)
    clients = load_clients(config)
    tuning.load_arrays(clients.model, arrays)
    return [tuning.evaluate(clients.model, clients.dev[name]).loss for name in clients.languages_of(client)]


def bare_loop(config: RunConfig) -> tuple[list[float], list[float]]:
    """Return seconds and mean dev loss of each round."""
    arrays, seconds, losses = load_clients(config).initial, [], []
    names = range(config.num_clients)
    with multiprocessing.get_context("spawn").Pool(simulation.usable_cores()) as pool:
        pool.starmap(score, [(config, i, arrays) for i in names], chunksize=1)  # loads the backbone everywhere
        for number in range(1, config.rounds + 1):
            began = time.perf_counter()
            replies = pool.starmap(train, [(config, i, number, arrays) for i in names], chunksize=1)
            total = sum(n for _, n in replies)
            arrays = {name: sum(n / total * a[name] for a, n in replies) for name in arrays}
            dev = pool.starmap(score, [(config, i, arrays) for i in names], chunksize=1)
            seconds.append(time.perf_counter() - began)
            losses.append(float(np.mean(sum(dev, []))))  # noqa: RUF017
    return seconds, losses


def stamp(path: str):
    """A Flower mod that notes when the first message to train arrives."""

    def mod(message, context, call_next):
        if message.metadata.message_type == "train" and not Path(path).exists():
            Path(path).write_text(str(time.time()))
        return call_next(message, context)

    return mod


def start_up(config: RunConfig) -> float:
    """Seconds from the call to the first client at work."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/stamp"
        began = time.time()
        simulate(config, mods=[stamp(path)])
        return float(Path(path).read_text()) - began


def memory_in_use() -> float:
    """Proportional set size of this process and those of the clients, in MB."""
    own = psutil.Process()
    return sum(process.memory_full_info().pss for process in (own, *own.children(recursive=True))) / 1e6


def main() -> None:
    """Measure all three and print a table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    short = RunConfig(train_size=8, rounds=1, local_epochs=1)
    print(f"{'from the call to the first client at work':<44}{start_up(short):>8.1f} s")
    again = RunConfig(train_size=8, rounds=1, local_epochs=1, seed=1)
    print(f"{'the same, second run in one process':<44}{start_up(again):>8.1f} s", flush=True)
    entries = []
    simulate(CONFIG, entries.append)
    memory = {}
    for clients in (5, 50):
        config = RunConfig(train_size=64, rounds=2, local_epochs=1, partition="iid", clients=clients)
        simulate(config, lambda _, clients=clients: memory.update({clients: memory_in_use()}))
    bare, losses = bare_loop(CONFIG)
    flower = [entry["seconds"] for entry in entries]
    print(f"{'seconds a round: simulation':<44}{np.median(flower):>8.2f}  {[round(s, 2) for s in flower]}")
    print(f"{'seconds a round: bare loop':<44}{np.median(bare):>8.2f}  {[round(s, 2) for s in bare]}")
    print(f"{'ratio of the medians':<44}{np.median(flower) / np.median(bare):>8.3f}")
    difference = max(abs(entry["dev_loss"] - loss) for entry, loss in zip(entries, losses, strict=True))
    print(f"{'largest difference in dev loss':<44}{difference:>8.0e}")
    print(f"{'memory of all processes, 5 clients':<44}{memory[5]:>8.0f} MB")
    ratio = memory[50] / memory[5]
    print(f"{'memory of all processes, 50 clients':<44}{memory[50]:>8.0f} MB  ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
