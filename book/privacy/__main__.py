"""``python -m book.privacy NAME ...``: run experiments seed by seed; what a table has already is not run again."""

import sys
from pathlib import Path

import pandas as pd
import torch

from . import attacks, live, noise, poison

RESULTS = Path("book/results/privacy")
EXPERIMENTS = {
    "sums": (attacks.sums, 10),
    "head": (attacks.head, 10),
    "loss": (attacks.loss, 10),
    "bias": (attacks.bias, 10),
    "payloads": (attacks.payloads, 5),
    "example": (noise.example, 10),
    "client": (noise.client, 10),
    "flower": (live.flower, 10),
    "examples": (live.examples, 10),
    "poison": (poison.poison, 10),
    "excluded": (poison.excluded, 10),
}


def main(names: list[str]) -> None:
    """Run what is asked for, by default everything."""
    torch.set_num_threads(1)
    for name in names or EXPERIMENTS:
        run, seeds = EXPERIMENTS[name]
        path = RESULTS / f"{name}.csv"
        done = pd.read_csv(path) if path.exists() else pd.DataFrame({"seed": []})
        for seed in sorted(set(range(seeds)) - set(done["seed"])):
            rows = pd.DataFrame([{"seed": seed, **row} for row in run(seed)])
            done = rows if done.empty else pd.concat([done, rows])
            done.to_csv(path, index=False, float_format="%.6g")
            print(name, seed, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
