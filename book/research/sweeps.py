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

import itertools
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fedprompt_helpers.config import FIELDS, RunConfig
from fedprompt_helpers.errors import FedPromptError, check_choice

from .store import Store, dev_accuracy, open_store

Reader = Callable[[RunConfig], dict | None]
"""Gives the record of a configuration, or None where there is none."""

SHAPES = {
    "question": (str, "a text"),
    "baseline": (str, "the label of a block"),
    "target": ((int, float), "a number"),
    "seeds": (list, "a list of whole numbers"),
    "common": (dict, "a table of fields"),
    "block": (list, "[[block]] tables"),
    "label": (str, "a text"),
    "grid": ((dict, list), "fields with lists of values, or a list of tables"),
    "choose": (dict, "one field with a list of values"),
    "like": (str, "the label of a block"),
}
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
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FedPromptError(f"cannot read the sweep {path}: {reason}; expected a TOML file") from error
    for key, value in content.items():
        _expect(path, "", check_choice("key of a sweep", key, TOP_KEYS), value)
    blocks, seeds = tuple(content.get("block", ())), tuple(content.get("seeds", (0,)))
    if not blocks or not seeds:
        raise FedPromptError(f"{path} has no [[block]] or no seeds; a sweep needs at least one of each")
    if not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise FedPromptError(f"{path}: seeds is {list(seeds)}; expected different whole numbers, such as [0, 1, 2]")
    for key in content.get("common", ()):
        check_choice("field in [common]", key, FIELDS)
    for block in blocks:
        _check_block(path, block)
    labels = [block["label"] for block in blocks]
    if len(set(labels)) < len(labels):
        raise FedPromptError(f"{path}: two blocks have the same label; name each one differently")
    baseline = check_choice("baseline", content.get("baseline", labels[0]), labels)
    common, target = content.get("common", {}), content.get("target")
    return Sweep(path, content.get("question", ""), baseline, target, seeds, common, blocks)


def _expect(path: Path, block: str, key: str, value) -> None:
    kind, what = SHAPES[key]
    if not isinstance(value, kind):
        raise FedPromptError(f"{path}{block}: {key} is {value!r}; expected {what}")


def _check_block(path: Path, block: dict) -> None:
    if not isinstance(block, dict) or "label" not in block:
        raise FedPromptError(f"{path}: a [[block]] has no label; give each one a name")
    name = f", block {block['label']!r}"
    for key in (key for key in BLOCK_KEYS if key in block):
        _expect(path, name, key, block[key])
    grid, choices = block.get("grid", {}), block.get("choose", {})
    lists = [*(grid.values() if isinstance(grid, dict) else ()), *choices.values()]
    tables = grid if isinstance(grid, list) else [{}]
    if not all(isinstance(x, list) and x for x in lists) or not tables or not all(isinstance(x, dict) for x in tables):
        raise FedPromptError(f"{path}{name}: grid and choose need {SHAPES['grid'][1]}, none of them empty")
    fields = [field for point in points(block) for field in point]
    for key in [*(set(block) - set(BLOCK_KEYS)), *fields, *choices]:
        check_choice(f"field in block {block['label']!r}", key, FIELDS)
    if len(choices) > 1 or (choices and "like" in block):
        raise FedPromptError(f"{path}{name} chooses more than one thing; choose one field")


def candidates(sweep: Sweep, block: dict, point: dict) -> list[RunConfig]:
    """Give what a block runs with the first seed to choose from; one configuration if it chooses nothing."""
    fixed = sweep.common | {key: value for key, value in block.items() if key not in BLOCK_KEYS} | point
    choices = [{name: value} for name, values in block.get("choose", {}).items() for value in values] or [{}]
    try:
        return [RunConfig(**fixed | choice | {"seed": sweep.seeds[0]}) for choice in choices]
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


def settings(sweep: Sweep, read: Reader) -> Iterator[Setting]:
    """Give every setting of a sweep, with what was chosen filled in.

    Parameters
    ----------
    sweep : Sweep
        From ``read_sweep``.
    read : callable
        Gives the record of a configuration (it may run it for that), or None where there is none, as what ``recorded``
        makes; a setting whose choice cannot be made for that is left out.

    Yields
    ------
    Setting
    """
    for block in sweep.blocks:
        taken = _taken(sweep, block, read)
        if taken is None:
            continue
        for point in points(block):
            chosen = choose(candidates(sweep, block, taken | point), read)
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
    model = blocks[check_choice(f"label that {block['label']!r} is like", label, blocks)]
    if "choose" not in model:
        raise FedPromptError(
            f"{sweep.path}: block {block['label']!r} is like {block['like']!r}, which chooses nothing; give that block "
            "`choose`, or leave `like` out"
        )
    return other, model


def _taken(sweep: Sweep, block: dict, read: Reader) -> dict | None:
    """Give what the block that this one is like has chosen; empty if it is like none."""
    if "like" not in block:
        return {}
    other, model = _model(sweep, block)
    chosen = choose(candidates(other, model, next(points(model))), read)
    return None if chosen is None else {name: chosen.flat()[name] for name in model["choose"]}


def choose(configs: list[RunConfig], read: Reader) -> RunConfig | None:
    """Choose the configuration with the highest mean dev accuracy; None if one has no record."""
    if len(configs) == 1:
        return configs[0]
    records = [read(config) for config in configs]
    if None in records:
        return None
    reached = [dev_accuracy(record) for record in records]
    return configs[reached.index(max(reached))]


def recorded(records: Store | str | Path) -> Reader:
    """Make a reader of a file of records: it gives the record of a configuration, or None."""
    return open_store(records).get


def has_record(sweep: Sweep, records: Store | str | Path) -> bool:
    """Whether any setting of a sweep has a record."""
    read = recorded(records)
    return any(read(config) for setting in settings(sweep, read) for config in setting.configs)


def missing(sweep: Sweep, records: Store | str | Path) -> int:
    """Count the runs of a sweep that have no record yet."""
    read, absent, unknown = recorded(records), set(), 0
    for block in sweep.blocks:
        taken = _taken(sweep, block, read)
        for point in points(block):
            if taken is None:  # the block that this one is like has not chosen yet
                unknown += len(sweep.seeds)
                continue
            options = candidates(sweep, block, taken | point)
            chosen = choose(options, read)
            needed = options if chosen is None else [*options, *_with_seeds(sweep, chosen)]
            absent |= {config for config in needed if read(config) is None}
            unknown += (len(sweep.seeds) - 1) * (chosen is None)
    return len(absent) + unknown


def _with_seeds(sweep: Sweep, config: RunConfig) -> tuple[RunConfig, ...]:
    return tuple(config.replace(seed=seed) for seed in sweep.seeds)


def everything(sweep: Sweep) -> Iterator[RunConfig]:
    """Give every configuration that a sweep may run, whatever will be chosen; the first that is wrong is refused."""
    for block in sweep.blocks:
        choices = _model(sweep, block)[1]["choose"] if "like" in block else {}
        takes = [{name: value} for name, values in choices.items() for value in values] or [{}]
        for taken, point in itertools.product(takes, points(block)):
            for config in candidates(sweep, block, taken | point):
                yield from _with_seeds(sweep, config)
