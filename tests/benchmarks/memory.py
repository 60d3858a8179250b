"""Does memory grow with rounds, or from one simulation to the next? ``python -m tests.benchmarks.memory``.

*Rounds.* The proportional set size of a federation of ten clients, this process and its clients', over 60 rounds.

*Simulations.* The same of this process alone after each of five federations, as in a notebook that runs five cells.
"""

import gc

from fedprompt_helpers import RunConfig, simulate

from .simulation import memory_in_use, row

ROUNDS = RunConfig(train_size=64, dev_size=20, rounds=60, local_epochs=1, partition="iid", clients=10)
AGAIN = RunConfig(languages=("en", "cy"), train_size=16, dev_size=8, rounds=2, local_epochs=1)
TARGET = 1.05


def main() -> None:
    """Measure both and print a table."""
    rounds = []
    simulate(ROUNDS, lambda _: rounds.append(memory_in_use()))
    for number in (1, 5, 20, 40, 60):
        row(f"memory of all processes after round {number}", f"{rounds[number - 1]:.0f} MB")
    row("ratio of round 60 to round 5", f"{rounds[59] / rounds[4]:.3f}", TARGET)
    after = []
    for seed in range(5):
        simulate(AGAIN.replace(seed=seed))
        gc.collect()
        after.append(memory_in_use())
        row(f"memory of this process after simulation {seed + 1}", f"{after[-1]:.0f} MB")
    row("ratio of the fifth to the first", f"{after[4] / after[0]:.3f}", TARGET)


if __name__ == "__main__":
    main()
