"""Run a recorded configuration again and compare."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .config import RunConfig
from .errors import FedPromptError
from .experiments import load_record, run
from .results import half_interval, own_interval


class Repetition(NamedTuple):
    """Mean test accuracy of a record and of its repetition, and the 95% interval of its setting."""

    recorded: float
    repeated: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the repetition lies in the interval."""
        return self.low <= self.repeated <= self.high


def draw(results: str | Path, *, task: str | None = None, at_most: float = 300.0, seed: int = 0) -> Path:
    """Draw one record among those that are cheap enough to run again, and whose setting was run with several seeds.

    A setting with one seed does not say how far its runs lie apart: its records can be named, but are not drawn.

    Parameters
    ----------
    results : path
        Folder of the run records.
    task : str, optional
        Only records of this task.
    at_most : float
        Longest run to draw, in seconds as recorded.
    seed : int
        Governs the draw.

    Raises
    ------
    FedPromptError
        If there is none.
    """
    everything = {path: load_record(path) for path in sorted(Path(results).glob("*.json"))}
    seeds = Counter(_setting(record) for record in everything.values())
    cheap = [
        path
        for path, record in everything.items()
        if record["seconds"] <= at_most and task in (None, record["config"]["task"]) and seeds[_setting(record)] > 1
    ]
    if not cheap:
        raise FedPromptError(
            f"no run record in {results} of at most {at_most:.0f} seconds{f' of task {task}' if task else ''} whose "
            "setting has several seeds; name a record, another folder with --results, or allow more with --at-most"
        )
    return random.Random(f"verify-{seed}").choice(cheap)


def _setting(record: dict) -> str:
    """Write down a record's configuration without its seed."""
    return json.dumps(record["config"] | {"seed": None}, sort_keys=True)


def repeat(path: str | Path, watch: Callable | None = None) -> Repetition:
    """Run the configuration of a record again, in a folder that is thrown away.

    Parameters
    ----------
    path : path
        The record.
    watch : callable, optional
        Takes the configuration and gives a context manager that is called with each round or epoch, such as
        ``reporting.Progress``.

    Returns
    -------
    Repetition
    """
    old = load_record(path)
    config = RunConfig.from_dict(old["config"])
    with tempfile.TemporaryDirectory() as folder:
        if watch:
            with watch(config) as on_progress:
                new = load_record(run(config, folder, on_progress=on_progress))
        else:
            new = load_record(run(config, folder))
    return Repetition(old["mean_test"]["accuracy"], new["mean_test"]["accuracy"], *setting_interval(path))


def setting_interval(path: str | Path) -> tuple[float, float]:
    """Give the interval in which one more run of a record's setting would lie.

    Where sums are rounded in another way, as on another processor, a training takes another course, as with another
    seed. So the records beside this one that differ by seed alone say how far runs lie apart: a 95% prediction interval
    (Student's t), widened by what the choice of test examples adds. A record without others has the latter alone.

    Returns
    -------
    low, high : float
        Mean test accuracy.
    """
    record = load_record(path)
    own_low, own_high = own_interval(record)
    others = [load_record(other) for other in sorted(Path(path).parent.glob("*.json"))]
    alike = [other for other in others if _setting(other) == _setting(record)]
    means = [other["mean_test"]["accuracy"] for other in alike]
    if len(means) < 2:
        return own_low, own_high
    half = half_interval(means) * np.sqrt(len(means) + 1)
    middle, half = float(np.mean(means)), float(np.hypot(half, (own_high - own_low) / 2))
    return middle - half, middle + half
