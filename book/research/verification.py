"""Run a recorded configuration again and compare: the data first, then the score."""

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import load_record

from .results import half_interval, own_interval
from .store import Store, open_store


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


def draw(
    records: Store | str | Path,
    *,
    task: str | None = None,
    at_most: float = 300.0,
    seed: int = 0,
    without: Collection[str] = (),
) -> dict:
    """Draw one record among those that are cheap enough to run again, and whose setting was run with several seeds.

    A setting with one seed does not say how far its runs lie apart: its records can be named, but are not drawn.

    Parameters
    ----------
    records : path
        The file of run records.
    task : str, optional
        Only records of this task.
    at_most : float
        Longest run to draw, in seconds as recorded.
    seed : int
        Governs the draw.
    without : collection of str
        Names of records that are not drawn: those whose data are others here.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    FedPromptError
        If there is none.
    """
    store = open_store(records)
    seeds = Counter(config.replace(seed=0) for config, _ in store.items())
    cheap = [
        record
        for config, record in store.items()
        if record["seconds"] <= at_most and task in (None, config.data.task) and seeds[config.replace(seed=0)] > 1
        if record["name"] not in without
    ]
    if not cheap:
        kind = f" of task {task}" if task else ""
        same = " and whose data are the same here" if without else ""
        raise FedPromptError(
            f"no run record in {store.path} of at most {at_most:.0f} seconds{kind} whose setting has several "
            f"seeds{same}; name a record, another file with --records, or allow more with --at-most"
        )
    return random.Random(f"verify-{seed}").choice(cheap)


def record_digest_matches(record: dict) -> bool | None:
    """Tell whether the configuration of a record now loads the data that it was made from.

    Parameters
    ----------
    record : dict
        A run record. The first ones hold one digest of all languages together, later ones one for each language.

    Returns
    -------
    bool or None
        None if the record has no digest.
    """
    recorded = record.get("data_digest")
    if recorded is None:
        return None
    config = RunConfig.from_dict(record["config"])
    if isinstance(recorded, dict):
        from fedprompt_helpers.runs import digests

        return recorded == digests(config)["data_digest"]
    from fedprompt_helpers.clients import data_digest
    from fedprompt_helpers.data.tasks import load_task

    names = ("unseen", "train_size", "dev_size", "data_dir", "text_field")
    options = {name: getattr(config.data, name) for name in names} | {"seed": config.seed}
    return recorded == data_digest(load_task(config.data.task, config.data.languages, **options))


def other_rows(record: dict) -> list[str]:
    """Name the languages whose files differ from the record's, though what was drawn from them may be the same."""
    from fedprompt_helpers.runs import digests

    recorded = record.get("source_digest", {})
    found = digests(RunConfig.from_dict(record["config"]))["source_digest"] if recorded else {}
    return [name for name in recorded if found.get(name) != recorded[name]]


def repeat(record: dict, records: Store | str | Path, watch: Callable | None = None) -> Repetition:
    """Run the configuration of a record again, in a folder that is thrown away.

    Parameters
    ----------
    record : dict
        The record.
    records : path
        The file of records that says how far runs of its setting lie apart.
    watch : callable, optional
        Takes the configuration and gives a context manager that is called with each round or epoch, such as
        ``fedprompt_helpers.progress.Progress``.

    Returns
    -------
    Repetition
    """
    from fedprompt_helpers.runs import run

    config = RunConfig.from_dict(record["config"])
    with tempfile.TemporaryDirectory() as folder:
        if watch:
            with watch(config) as on_progress:
                new = load_record(run(config, folder, on_progress=on_progress))
        else:
            new = load_record(run(config, folder))
    interval = setting_interval(record, records)
    return Repetition(record["mean_test"]["accuracy"], new["mean_test"]["accuracy"], *interval)


def setting_interval(record: dict, records: Store | str | Path) -> tuple[float, float]:
    """Give the interval in which one more run of a record's setting would lie.

    Where sums are rounded in another way, as on another processor, a training takes another course, as with another
    seed. So the records that differ from this one by seed alone say how far runs lie apart: a 95% prediction interval
    (Student's t), widened by what the choice of test examples adds. A record without others has the latter alone.

    Parameters
    ----------
    record : dict
        The record.
    records : path
        The file of records where those of other seeds are looked for.

    Returns
    -------
    low, high : float
        Mean test accuracy.
    """
    own_low, own_high = own_interval(record)
    config = RunConfig.from_dict(record["config"])
    others = [
        other
        for each, other in open_store(records).items()
        if each != config and each.replace(seed=config.seed) == config
    ]
    means = [each["mean_test"]["accuracy"] for each in [record, *others]]
    if len(means) < 2:
        return own_low, own_high
    half = half_interval(means) * np.sqrt(len(means) + 1)
    middle, half = float(np.mean(means)), float(np.hypot(half, (own_high - own_low) / 2))
    return middle - half, middle + half
