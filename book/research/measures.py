"""What a test of a hypothesis measures: one function a kind of test, from the scores of ``evidence.scores``.

Each gives a ``Found`` in points of accuracy (or in its own unit), or None where there are no records. A value that
cannot be had, though the records are there, is NaN.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .evidence import BUDGET, DRAWS, by_seed, interval
from .gains import mean_distance
from .transfer import best_teachers

Frames = dict[str, pd.DataFrame]


class Found(NamedTuple):
    """What a test found: a value with its 95% interval, how many seeds it rests on, and how a reader is told."""

    value: float
    low: float
    high: float
    seeds: int
    said: str


def difference(frames: Frames, test: dict) -> Found | None:
    """First setting minus second, in points; minus another such difference if the test says so; paired by seed."""
    values, notes = _gain(frames, test)
    if "minus" in test:
        less, more = _gain(frames, test | test["minus"])
        values, notes = (values - test["minus"].get("times", 1) * less).dropna(), notes | more
    if len(values) < 2:
        return None
    mean, (low, high) = values.mean(), interval(values)
    against = f" against {', '.join(sorted(notes))}" if notes else ""
    return Found(mean, low, high, len(values), f"{mean:+.1f} ({low:+.1f} to {high:+.1f}){against}")


def spread(frames: Frames, test: dict) -> Found | None:
    """Compare the standard deviations of two settings over the same seeds, by the test of Pitman and Morgan.

    The value is the correlation of sum and difference of the two: below zero exactly if the first varies less.
    """
    one, other = 100 * _pair(frames, test).T.to_numpy()
    if len(one) < 2:
        return None
    said = f"standard deviation {one.std(ddof=1):.1f} against {other.std(ddof=1):.1f}"
    if len(one) < 4 or np.ptp(one - other) == 0 or np.ptp(one + other) == 0:
        return Found(np.nan, np.nan, np.nan, len(one), said)
    found = stats.pearsonr(one + other, one - other)
    r, (low, high) = float(found.statistic), found.confidence_interval()
    return Found(r, low, high, len(one), f"{said}, r {r:+.2f} ({low:+.2f} to {high:+.2f})")


def languages(frames: Frames, test: dict) -> Found | None:
    """Give the smallest of the languages' mean differences, in points; a mean over seeds has no interval here."""
    gains = 100 * _by_language(frames, test)
    if len(gains) < 2:
        return None
    means = gains.mean()
    lowest = means.min()
    return Found(lowest, lowest, lowest, len(gains), f"lowest {lowest:+.1f} ({means.idxmin()})")


def correlation(frames: Frames, test: dict) -> Found | None:
    """Correlate, by ranks, what languages gain with a quantity; the interval draws whole seeds and whole languages."""
    gains = _by_language(frames, test)
    if len(gains) < 2:
        return None
    if test["quantity"] == "distance":
        known = {name: mean_distance(name, list(gains)) for name in gains}
    else:
        known = frames[test["sweep"]].groupby("language")[BUDGET].first()
    quantity, values = np.array([known[name] for name in gains], dtype=float), gains.to_numpy()
    rng = np.random.default_rng(0)
    seeds, drawn = (rng.integers(n, size=(DRAWS, n)) for n in values.shape)
    means = values[seeds[:, :, None], drawn[:, None, :]].mean(axis=1)
    with warnings.catch_warnings(action="ignore", category=stats.ConstantInputWarning):  # one language drawn alone
        rho = float(stats.spearmanr(quantity, values.mean(axis=0)).statistic)
        ranks = stats.rankdata(quantity[drawn], axis=1), stats.rankdata(means, axis=1)
        draws = stats.pearsonr(*ranks, axis=1).statistic
    low, high = (np.nan, np.nan) if np.isnan(draws).all() else np.nanquantile(draws, [0.025, 0.975])
    said = f"rank correlation {rho:+.2f} ({low:+.2f} to {high:+.2f}), {gains.shape[1]} languages"
    return Found(rho, float(low), float(high), len(gains), said)


def bill(frames: Frames, test: dict) -> Found | None:
    """Give the largest number of megabytes that a run of a setting sent, both ways."""
    (label,) = test["settings"]
    sent = _column(frames, test, label, "megabytes")
    if not len(sent):
        return None
    return Found(sent.max(), sent.max(), sent.max(), len(sent), f"at most {sent.max():.1f} MB a run")


def target(frames: Frames, test: dict) -> Found | None:
    """Give the share that one setting sends, until dev reaches the target, of what another does; NaN if one cannot."""
    sent, reached = (_pair(frames, test | {"columns": [name, name]}) for name in ("megabytes", "to_target"))
    if len(sent) < 2:
        return None
    if len(reached) < len(sent):
        said = f"both reach the target in {len(reached)} of {len(sent)} seeds"
        return Found(np.nan, np.nan, np.nan, len(sent), said)
    share, one, other = reached[0] / reached[1], *reached.mean()
    mean, (low, high) = share.mean(), interval(share)
    said = f"share {mean:.2f} ({low:.2f} to {high:.2f}): {one:.1f} of {other:.1f} MB"
    return Found(mean, low, high, len(share), said)


def teachers(frames: Frames, test: dict) -> Found | None:
    """Give the share of pupils that have the commonest best teacher; the interval draws whole seeds."""
    found = best_teachers(frames[test["sweep"]])
    return None if found is None else Found(*found)


KINDS: dict[str, Callable[[Frames, dict], Found | None]] = {
    each.__name__: each for each in (difference, spread, languages, correlation, bill, target, teachers)
}


def _rows(frames: Frames, test: dict, setting: str) -> tuple[pd.DataFrame, str]:
    """Give the scores of a setting, ``label`` or ``sweep/label``, of the languages of the test."""
    sweep, _, label = setting.rpartition("/")
    frame = frames[sweep or test["sweep"]]
    if len(frame) and "languages" in test:
        frame = frame[frame["language"].isin(test["languages"])]
    return frame, label


def _column(frames: Frames, test: dict, setting: str, column: str) -> pd.Series:
    """Give a setting's means over languages by seed, at the test's budget, or mean over those that it averages."""
    frame, label = _rows(frames, test, setting)
    budgets = test.get("average", [test.get("budget")])
    found = [by_seed(frame, label, budget, column) for budget in budgets]
    return (sum(found[1:], found[0]) / len(found)).dropna()


def _pair(frames: Frames, test: dict, notes: set | None = None) -> pd.DataFrame:
    """Give the two settings' means by seed, side by side; of a list of settings, the one with the highest mean."""
    columns, sides = test.get("columns", ("accuracy", "accuracy")), {}
    for side, (setting, column) in enumerate(zip(test["settings"], columns, strict=True)):
        options = setting if isinstance(setting, list) else [setting]
        found = pd.DataFrame({option: _column(frames, test, option, column) for option in options}).dropna()
        best = found.mean().idxmax() if len(found) else options[0]  # a rival without a seed might be the best: no seed
        sides[side] = found[best]
        if len(options) > 1 and notes is not None:
            notes.add(best)
    return pd.DataFrame(sides).dropna()


def _gain(frames: Frames, test: dict) -> tuple[pd.Series, set]:
    notes: set = set()
    pair = _pair(frames, test, notes)
    return 100 * (pair[0] - pair[1]), notes


def _by_language(frames: Frames, test: dict) -> pd.DataFrame:
    """Give the difference of two settings for each seed (row) and language (column)."""
    tables = []
    for setting in test["settings"]:
        frame, label = _rows(frames, test, setting)
        if not len(frame):
            return pd.DataFrame()
        at = frame[(frame["label"] == label) & (frame[BUDGET] == test.get("budget", frame[BUDGET]))]
        tables.append(at.pivot_table(index="seed", columns="language", values="accuracy", sort=False))
    return (tables[0] - tables[1]).dropna()
