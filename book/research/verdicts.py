"""What came of each hypothesis, by the rules in ``book/results/evidence/verdicts.toml``.

The file has a ``[[hypothesis]]`` for each: its ``number``, what it ``says``, its ``tests``, and perhaps a ``note`` on
its rule. ``[languages]`` gives names to groups of languages. A test has a ``kind`` (a function of ``measures``; left
out: a difference), one condition (``RULES``), and:

- ``settings``: labels of blocks of ``sweep``, or ``sweep/label``. In place of the second, a list: the one with the
  highest mean test accuracy at that budget;
- ``budget``: a label budget, or a list of them, a test each; ``average``: the plain mean over these;
- ``minus``: a second difference to be subtracted, ``times`` a number; it has what it does not name from the first;
- ``columns``: one of the scores for each setting, ``languages``: a group, ``quantity``: what gains are correlated with;
- ``of``: a name for the reader, ``seeds``: how many a verdict needs, if not ten.

A hypothesis holds if all of its tests do, partly if some do or do partly. Where a seed is missing, it is not run yet;
where no test has a value, it cannot be checked here.
"""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from fedprompt_helpers.errors import FedPromptError, check_choice

from .measures import KINDS, Found, Frames

SEEDS = 10
Budgets = Annotated[list[int], Field(min_length=1)]
Rivals = Annotated[list[str], Field(min_length=1)]


class Part(BaseModel, extra="forbid", strict=True):
    """What a difference is of; ``minus`` may name each of these anew."""

    sweep: str | None = None
    settings: Annotated[list[str | Rivals], Field(min_length=1, max_length=2)] | None = None
    columns: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    budget: int | Budgets | None = None
    average: Budgets | None = None
    languages: str | None = None


class Minus(Part):
    """A second difference, to be subtracted."""

    budget: int | None = None
    times: float | None = None


class Trial(Part):
    """One test of a hypothesis."""

    kind: Literal[tuple(KINDS)] = "difference"  # type: ignore
    minus: Minus | None = None
    quantity: Literal["size", "distance"] | None = None
    of: str | None = None
    seeds: Annotated[int, Field(ge=2)] = SEEDS
    at_least: float | None = None
    at_most: float | None = None
    not_above: float | None = None
    within: Annotated[float, Field(ge=0)] | None = None
    holds_zero: Literal[True] | None = None


class Hypothesis(BaseModel, extra="forbid", strict=True):
    """One hypothesis with its tests."""

    number: str
    says: str
    tests: Annotated[list[Trial], Field(min_length=1)]
    note: str | None = None


COMPARES = dict.fromkeys(KINDS, 2) | {"bill": 1, "teachers": 0}
"""How many settings a kind of test needs."""
ONLY = {"columns": ("difference",), "minus": ("difference",), "languages": ("difference",)}
ONLY |= {"average": ("difference", "spread"), "quantity": ("correlation",)}
"""Which kinds of test a key is for, if not for all."""
RULES = {
    "at_least": "{} ≥ {:g}",
    "at_most": "{} ≤ {:g}",
    "not_above": "{} not wholly above {:g}",
    "within": "{} within ±{:g}",
    "holds_zero": "{} holds 0",
}
MEASURED = {
    "difference": "interval",
    "spread": "interval of r (Pitman and Morgan)",
    "languages": "lowest language",
    "correlation": "interval of the rank correlation",
    "bill": "MB of the largest run",
    "target": "interval of the share",
    "teachers": "interval of the share of pupils with the commonest best teacher",
}


def verdicts(path: Path, frames: Frames) -> pd.DataFrame:
    """Say of each hypothesis what was measured, and the verdict with its rule.

    Parameters
    ----------
    path : pathlib.Path
        The TOML file of the hypotheses' tests.
    frames : dict of str to pandas.DataFrame
        For the name of each sweep its scores, empty where it has no record.

    Raises
    ------
    FedPromptError
        If the file is not as this module's head says; the message names the hypothesis.
    """
    rows = []
    for each in read_verdicts(path, frames):
        tests = [
            test | {"budget": one} if one else test for test in each["tests"] for one in _listed(test.get("budget"))
        ]
        found = [KINDS[test["kind"]](frames, test) for test in tests]
        held = [_judge(one, test) for one, test in zip(found, tests, strict=True)]
        rules = [_rule(test) for test in tests] + ([each["note"]] if "note" in each else [])
        rows.append({"hypothesis": each["number"], "says": each["says"], "rule": "; ".join(dict.fromkeys(rules))})
        rows[-1]["measured"] = "; ".join(_say(one, test) for one, test in zip(found, tests, strict=True) if one)
        rows[-1]["verdict"] = _verdict(held)
    return pd.DataFrame(rows)


def _judge(found: Found | None, test: dict) -> int | float | None:
    """Give 2 if a test holds, 1 if partly, 0 if not; NaN if it has no value, None if seeds are missing."""
    if found is None or found.seeds < test["seeds"]:
        return None
    name, limit = _condition(test)
    value, low, high = found.value, found.low, found.high
    if any(map(math.isnan, (value, low, high))):
        return math.nan
    if name == "at_least":
        return 2 if low >= limit else int(value >= limit)
    if name == "at_most":
        return 2 if high <= limit else int(value <= limit)
    if name == "within":
        return 2 if -limit <= low and high <= limit else int(abs(value) <= limit)
    return 2 * (low <= limit if name == "not_above" else low <= 0 <= high)


def _verdict(held: list) -> str:
    if None in held:
        return "not run yet"
    held = [each for each in held if not math.isnan(each)]
    if not held:
        return "cannot be checked here"
    return "holds" if min(held) == 2 else "holds partly" if max(held) else "does not hold here"


def _condition(test: dict) -> tuple[str, float]:
    return next((name, test[name]) for name in RULES if name in test)


def _rule(test: dict) -> str:
    name, limit = _condition(test)
    return RULES[name].format(MEASURED[test["kind"]], limit)


def _say(found: Found, test: dict) -> str:
    where = [test["of"]] if "of" in test else []
    where += [f"at {test['budget']}"] if test.get("budget") else []
    where += ["mean of the budgets"] if "average" in test else []
    return " ".join([*where, found.said]) + f", {found.seeds} seeds"


def read_verdicts(path: Path, frames: Frames) -> list[dict]:
    """Read and check the file of the hypotheses' tests; groups of languages are filled in."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FedPromptError(f"cannot read {path}: {error}; expected a TOML file") from error
    read = []
    for place, each in enumerate(content.get("hypothesis", ()), 1):
        where = f"{path.name}, hypothesis {each.get('number', f'in place {place}')}"
        try:
            read.append(Hypothesis(**each).model_dump(exclude_none=True))
            for test in read[-1]["tests"]:
                _check(test, frames)
                for part in (test, test.get("minus", {})):
                    if group := part.get("languages"):
                        groups = content.get("languages", {})
                        part["languages"] = groups[check_choice("group of languages", group, groups)]
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(step + 1) if isinstance(step, int) else step for step in fault["loc"])
            raise FedPromptError(f"{where}: {key} is {fault['input']!r}: {fault['msg']}") from error
        except FedPromptError as error:
            raise FedPromptError(f"{where}: {error}") from error
    return read


def _check(test: dict, frames: Frames) -> None:
    """Check what one field alone does not tell."""
    kind, minus = test["kind"], test.get("minus", {})
    if wrong := [key for key, kinds in ONLY.items() if key in test and kind not in kinds]:
        raise FedPromptError(f"{wrong[0]} is given for a test of kind {kind!r}; it is for {', '.join(ONLY[wrong[0]])}")
    if kind == "correlation" and "quantity" not in test:
        raise FedPromptError("a correlation has no quantity; expected 'size' or 'distance'")
    if len(given := [name for name in RULES if name in test]) != 1:
        raise FedPromptError(f"a test has {len(given)} of the conditions {', '.join(RULES)}; expected one")
    for settings in (test.get("settings", []), *([minus["settings"]] if "settings" in minus else [])):
        if len(settings) != COMPARES[kind]:
            raise FedPromptError(f"settings are {settings}; expected {COMPARES[kind]} for a test of kind {kind!r}")
    labels = [label for part in (test, minus) for each in part.get("settings", ()) for label in _listed(each)]
    named = [part["sweep"] for part in (test, minus) if "sweep" in part]
    for sweep in [*named, *(label.rpartition("/")[0] for label in labels if "/" in label)]:
        check_choice("sweep", sweep, frames)
    if not named:
        raise FedPromptError("a test has no sweep; name one of the sweep files")


def _listed(value) -> list:
    return value if isinstance(value, list) else [value]
