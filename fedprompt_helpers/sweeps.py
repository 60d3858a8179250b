"""A sweep file: many configurations, run in order, one training at a time, those already recorded skipped.

A sweep is a TOML file. ``question`` says what it asks, ``seeds`` which seeds it runs, ``baseline`` the block that the
others are compared with (the first if left out), ``target`` a dev accuracy to be reached. ``[common]`` holds fields of
``RunConfig`` that all blocks share; each ``[[block]]`` has a ``label`` and fields of its own, and optionally

- ``grid``: fields with a list of values each; every combination is a setting. Or a list of tables, each a setting. The
  text ``"all"`` stands for no limit;
- ``choose``: one field with a list of values. Each is run with the first seed, and the value with the highest mean dev
  accuracy is taken for the other seeds;
- ``like``: the label of another block (``label``, or ``file/label`` for a sweep file beside this one) whose chosen
  value this block takes.
"""

import dataclasses
import itertools
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .config import RunConfig
from .errors import FedPromptError, check_choice
from .experiments import load_record, record_name, run

TOP_KEYS = ("question", "baseline", "target", "seeds", "common", "block")
BLOCK_KEYS = ("label", "grid", "choose", "like")


class Setting(NamedTuple):
    """One line of a results table: a block of a sweep at one point of its grid, to be run with every seed."""

    label: str
    point: dict
    configs: tuple[RunConfig, ...]


class Sweep(NamedTuple):
    """A sweep file, read and checked."""

    path: Path
    question: str
    baseline: str
    target: float | None
    seeds: tuple[int, ...]
    common: dict
    blocks: tuple[dict, ...]


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep file.

    Raises
    ------
    FedPromptError
        If the file is missing or is not a sweep; the message names the block and the key.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise FedPromptError(f"cannot read the sweep {path}: {error}; expected a TOML file") from error
    for key in content:
        check_choice("key of a sweep", key, TOP_KEYS)
    blocks, seeds = tuple(content.get("block", ())), tuple(content.get("seeds", (0,)))
    if not blocks or not seeds:
        raise FedPromptError(f"{path} has no [[block]] or no seeds; a sweep needs at least one of each")
    fields = set(RunConfig.__dataclass_fields__) - {"seed"}
    for key in content.get("common", ()):
        check_choice("field in [common]", key, fields)
    for block in blocks:
        if "label" not in block:
            raise FedPromptError(f"{path}: a [[block]] has no label; give each one a name")
        grid = [field for point in points(block) for field in point]
        for key in [*(set(block) - set(BLOCK_KEYS)), *grid, *block.get("choose", ())]:
            check_choice(f"field in block {block['label']!r}", key, fields)
        if len(block.get("choose", ())) > 1 or ("choose" in block and "like" in block):
            raise FedPromptError(f"{path}: block {block['label']!r} chooses more than one thing; choose one field")
    labels = [block["label"] for block in blocks]
    if len(set(labels)) < len(labels):
        raise FedPromptError(f"{path}: two blocks have the same label; name each one differently")
    baseline = check_choice("baseline", content.get("baseline", labels[0]), labels)
    common, target = content.get("common", {}), content.get("target")
    return Sweep(path, content.get("question", ""), baseline, target, seeds, common, blocks)


def candidates(sweep: Sweep, block: dict, point: dict) -> list[RunConfig]:
    """Give what a block runs with the first seed to choose from; one configuration if it chooses nothing."""
    fixed = sweep.common | {key: value for key, value in block.items() if key not in BLOCK_KEYS} | point
    choices = [{name: value} for name, values in block.get("choose", {}).items() for value in values] or [{}]
    return [_config(sweep, block, fixed | choice | {"seed": sweep.seeds[0]}) for choice in choices]


def _config(sweep: Sweep, block: dict, values: dict) -> RunConfig:
    try:
        return RunConfig(**values)
    except FedPromptError as error:
        raise FedPromptError(f"{sweep.path.name}, block {block['label']!r}: {error}") from error


def points(block: dict) -> Iterator[dict]:
    """Give every point of a block's grid; one empty point if it has none."""
    grid = block.get("grid", {})
    if isinstance(grid, list):
        listed = grid
    else:
        listed = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for point in listed:
        yield {name: None if value == "all" else value for name, value in point.items()}


def grid_fields(sweep: Sweep) -> list[str]:
    """Name the fields that the blocks of a sweep have grids of, in the order of the file."""
    return list(dict.fromkeys(field for block in sweep.blocks for point in points(block) for field in point))


def settings(sweep: Sweep, results: Path, runner: Callable[[RunConfig], dict | None]) -> Iterator[Setting]:
    """Give every setting of a sweep, with what was chosen filled in.

    Parameters
    ----------
    sweep : Sweep
        From ``read_sweep``.
    results : pathlib.Path
        Folder of the records.
    runner : callable
        Gives the record of a configuration (it may run it for that), or None where there is none; a setting whose
        choice cannot be made for that is left out.

    Yields
    ------
    Setting
    """
    for block in sweep.blocks:
        taken = _taken(sweep, block, results, runner)
        if taken is None:
            continue
        for point in points(block):
            chosen = choose(candidates(sweep, block, taken | point), runner)
            if chosen is not None:
                yield Setting(block["label"], point, _with_seeds(sweep, chosen))


def chosen_fields(sweep: Sweep, block: dict) -> tuple[str, ...]:
    """Name the fields whose values were chosen for a block: by itself, or by the block that it is like."""
    return tuple((_model(sweep, block)[1] if "like" in block else block).get("choose", ()))


def _model(sweep: Sweep, block: dict) -> tuple[Sweep, dict]:
    """Find the block that this one is like, and the sweep that holds it."""
    file, _, label = block["like"].rpartition("/")
    other = read_sweep(sweep.path.with_name(f"{file}.toml")) if file else sweep
    blocks = {candidate["label"]: candidate for candidate in other.blocks}
    return other, blocks[check_choice(f"label that {block['label']!r} is like", label, blocks)]


def _taken(sweep: Sweep, block: dict, results: Path, runner) -> dict | None:
    """Give what the block that this one is like has chosen; empty if it is like none."""
    if "like" not in block:
        return {}
    other, model = _model(sweep, block)
    chosen = choose(candidates(other, model, next(points(model))), runner)
    return None if chosen is None else {name: getattr(chosen, name) for name in model.get("choose", {})}


def choose(configs: list[RunConfig], runner: Callable[[RunConfig], dict | None]) -> RunConfig | None:
    """Choose the configuration with the highest mean dev accuracy; None if one has no record."""
    if len(configs) == 1:
        return configs[0]
    records = [runner(config) for config in configs]
    if None in records:
        return None
    return configs[int(np.argmax([dev_accuracy(record) for record in records]))]


def dev_accuracy(record: dict) -> float:
    """Mean dev accuracy over languages at the epoch or round that early stopping kept."""
    if "rounds" in record:
        best = record["rounds"][record["best_round"] - 1]
        return float(np.mean([scores["accuracy"] for scores in best["dev"].values()]))
    kept = [min(epochs, key=lambda entry: entry["dev_loss"]) for epochs in record["epochs"].values()]
    return float(np.mean([entry["dev_accuracy"] for entry in kept]))


def recorded(results: Path) -> Callable[[RunConfig], dict | None]:
    """Make a runner that only reads what is there."""

    def read(config: RunConfig) -> dict | None:
        path = Path(results) / f"{record_name(config)}.json"
        return load_record(path) if path.exists() else None

    return read


def has_record(sweep: Sweep, results: Path) -> bool:
    """Whether any setting of a sweep has a record."""
    read = recorded(results)
    return any(read(config) for setting in settings(sweep, results, read) for config in setting.configs)


def missing(sweep: Sweep, results: Path) -> int:
    """Count the runs of a sweep that have no record yet."""
    read, absent, unknown = recorded(results), set(), 0
    for block in sweep.blocks:
        taken = _taken(sweep, block, results, read)
        for point in points(block):
            if taken is None:  # the block that this one is like has not chosen yet
                unknown += len(sweep.seeds)
                continue
            options = candidates(sweep, block, taken | point)
            chosen = choose(options, read)
            needed = options if chosen is None else [*options, *_with_seeds(sweep, chosen)]
            absent |= {record_name(config) for config in needed if read(config) is None}
            unknown += (len(sweep.seeds) - 1) * (chosen is None)
    return len(absent) + unknown


def _with_seeds(sweep: Sweep, config: RunConfig) -> tuple[RunConfig, ...]:
    return tuple(dataclasses.replace(config, seed=seed) for seed in sweep.seeds)


def run_sweep(
    sweep: Sweep,
    results: str | Path,
    *,
    on_run: Callable[[RunConfig, bool], None] | None = None,
    on_progress: Callable[[dict], None] | None = None,
) -> list[Path]:
    """Run what has no record yet, in the order of the file, one training at a time.

    Parameters
    ----------
    sweep : Sweep
        From ``read_sweep``.
    results : path
        Folder for the records.
    on_run : callable, optional
        Called with a configuration and False before it runs, and with True when its record is written.
    on_progress : callable, optional
        See ``experiments.run``.

    Returns
    -------
    list of pathlib.Path
        The records of all settings.
    """
    results, paths = Path(results), []
    read = recorded(results)

    def runner(config: RunConfig) -> dict:
        if (record := read(config)) is None:
            config.check_languages()
            if on_run:
                on_run(config, False)
            record = load_record(run(config, results, on_progress=on_progress))
            if on_run:
                on_run(config, True)
        return record

    for setting in settings(sweep, results, runner):
        for config in setting.configs:
            runner(config)
            paths.append(results / f"{record_name(config)}.json")
    return paths
