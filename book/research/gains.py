"""Who gains from federation: the gain of each language beside its distance to the others and its number of examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fedprompt_helpers.config import DEFAULTS
from fedprompt_helpers.data.distance import language_distance
from fedprompt_helpers.errors import FedPromptError

from .results import CONFIDENCE, half_interval, scores
from .store import Store
from .sweeps import Sweep, grid_fields, has_record

ALONE, TOGETHER = "local", "federated by language"
"""Labels of the two blocks that are compared, in every sweep that has both."""

DRAWS = 1_000


def mean_distance(language: str, others: Sequence[str], kind: str = "typology") -> float:
    """Give the mean distance of a language to the others of a federation; itself, if listed, is left out."""
    distances = [language_distance(language, other, kind) for other in others if other != language]
    if not distances:
        raise FedPromptError(f"no language to compare {language!r} with; name at least one other")
    return float(np.mean(distances))


def gains_table(sweeps: list[Sweep], records: Store | str | Path) -> pd.DataFrame:
    """Collect what each language gains: one row a sweep, point of its grid, and language.

    Parameters
    ----------
    sweeps : list of Sweep
        Those without both blocks, or without records of both, are left out.
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        ``sweep``, ``task``, ``language``, ``train_size`` (examples a language at most), ``distance`` (mean URIEL
        distance, typology, to the other languages of the federation), ``seeds``, ``local`` and ``gain``: mean test
        accuracy of training alone, and of the federation minus it, paired by seed; ``gain_interval``: half the 95%
        interval over seeds.
    """
    rows = []
    for sweep in sweeps:
        if not {ALONE, TOGETHER} <= {block["label"] for block in sweep.blocks} or not has_record(sweep, records):
            continue
        frame, languages = scores(sweep, records), tuple(sweep.common.get("languages", DEFAULTS["languages"]))
        grid = [name for name in grid_fields(sweep) if name in frame]
        keys = ["language", "train_size"]
        frame = frame.assign(train_size=frame["train_size"] if "train_size" in grid else _size(sweep))
        wide = frame[frame["label"].isin((ALONE, TOGETHER))].pivot_table(
            index=[*keys, "seed"], columns="label", values="accuracy", sort=False
        )
        if not {ALONE, TOGETHER} <= set(wide):
            continue
        for (language, size), group in wide.dropna().groupby(level=keys, sort=False):
            gain = group[TOGETHER] - group[ALONE]
            rows.append(
                {
                    "sweep": sweep.path.stem,
                    "task": sweep.common.get("task", DEFAULTS["task"]),
                    "language": language,
                    "train_size": size,
                    "distance": mean_distance(language, languages),
                    "seeds": len(gain),
                    "local": group[ALONE].mean(),
                    "gain": gain.mean(),
                    "gain_interval": half_interval(gain),
                }
            )
    return pd.DataFrame(rows)


def _size(sweep: Sweep):
    return sweep.common.get("train_size") or "all"


def correlations(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Correlate the gain with distance and with the number of examples, by Spearman's rank correlation.

    Parameters
    ----------
    table : pandas.DataFrame
        From ``gains_table``.
    seed : int
        Governs the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a sweep and quantity: ``points``, ``correlation``, and ``low`` and ``high`` of the 95% percentile
        interval of a bootstrap over languages. Missing where the quantity does not vary.
    """
    rows = []
    for name, group in table.groupby("sweep", sort=False):
        sizes = group.assign(train_size=_ranks(group["train_size"]))
        for quantity in ("distance", "train_size"):
            if sizes[quantity].nunique() < 3:
                continue
            low, high = _bootstrap(sizes, quantity, np.random.default_rng(seed))
            found = _spearman(sizes[quantity], sizes["gain"])
            rows.append({"sweep": name, "quantity": quantity, "points": len(group), "correlation": found})
            rows[-1] |= {"low": low, "high": high}
    return pd.DataFrame(rows)


def _ranks(sizes: pd.Series) -> pd.Series:
    """Turn sizes into numbers; all examples are more than any number of them."""
    return pd.to_numeric(sizes, errors="coerce").fillna(np.inf)


def _spearman(x, y) -> float:
    x, y = mean_ranks(x), mean_ranks(y)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else np.nan


def mean_ranks(values) -> np.ndarray:
    """Rank numbers from 1; equal ones share the mean of their ranks."""
    _, which, times = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[which]


def _bootstrap(table: pd.DataFrame, quantity: str, rng: np.random.Generator) -> tuple[float, float]:
    """Draw languages with replacement, all rows of a language together: they are not independent."""
    parts = [(rows[quantity].to_numpy(), rows["gain"].to_numpy()) for _, rows in table.groupby("language", sort=False)]
    draws = np.sort(rng.integers(len(parts), size=(DRAWS, len(parts))), axis=1)  # the order of a draw has no say
    distinct, which = np.unique(draws, axis=0, return_inverse=True)
    found = [_spearman(*(np.concatenate([parts[i][k] for i in drawn]) for k in (0, 1))) for drawn in distinct]
    return tuple(np.nanquantile(np.array(found)[which], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist())


def write_gains(sweeps: list[Sweep], records: Store | str | Path, folder: str | Path) -> list[Path]:
    """Write ``gains.csv`` and ``gains_correlations.csv``, if any sweep has records of both blocks."""
    table, written = gains_table(sweeps, records), []
    for name, content in (("gains", table), ("gains_correlations", correlations(table) if len(table) else table)):
        if len(content):
            written.append(Path(folder) / f"{name}.csv")
            content.to_csv(written[-1], index=False, float_format="%.6g", lineterminator="\n")
    return written
