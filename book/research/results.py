"""Tables of run records: means, intervals, paired comparisons. Nothing here trains."""

import functools
import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import bytes_so_far, update_bytes

from .store import Store, dev_accuracy, open_store
from .sweeps import Sweep, chosen_fields, grid_fields, settings

CONFIDENCE = 0.95


def scores(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Collect the test scores of a sweep: one row a setting, seed and language.

    Parameters
    ----------
    sweep : Sweep
        From ``sweeps.read_sweep``.
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        Columns ``label``, the sweep's grid fields, ``chosen`` (what was chosen on dev), ``seed``, ``run`` (the
        record's name), ``language``, ``accuracy``, ``macro_f1``, ``majority``, ``dev_accuracy`` and the run's costs;
        see ``costs``.

    Raises
    ------
    FedPromptError
        If no setting of the sweep has a record.
    """
    store, rows = open_store(records), []
    fields = {block["label"]: sorted(chosen_fields(sweep, block)) for block in sweep.blocks}
    for setting in settings(sweep, store.get):
        for config in setting.configs:
            if (record := store.get(config)) is None:
                continue
            chosen = ", ".join(f"{name} {config.flat()[name]:g}" for name in fields[setting.label])
            shared = {"label": setting.label, **{name: _plain(value) for name, value in setting.point.items()}}
            shared |= {"chosen": chosen, "seed": config.seed, "run": record["name"]}
            shared |= {"dev_accuracy": dev_accuracy(record)}
            shared |= costs(record, sweep.target)
            for language in record["test"]:
                test = record["test"][language]
                rows.append(
                    shared
                    | {
                        "language": language,
                        "accuracy": test["accuracy"],
                        "macro_f1": test["macro_f1"],
                        "majority": record["majority"][language],
                    }
                )
    if not rows:
        raise FedPromptError(
            f"no run record of {sweep.path.name} in {store.path}; run `python -m book.research sweep {sweep.path}`"
        )
    return pd.DataFrame(rows)


def _plain(value):
    return "all" if value is None else value


def costs(record: dict, target: float | None = None) -> dict:
    """Give what a run cost.

    Returns
    -------
    dict
        ``trainable`` parameters; ``seconds``; for a federation ``update_bytes`` (what one client sends in one round,
        measured on the serialised message), ``update_share`` (of sending the full model in float32), ``megabytes``
        (all rounds, both ways, training and scoring, and the class sums of a prototype start) and, with `target`,
        ``rounds_to_target`` and ``megabytes_to_target``: when the mean dev accuracy first reached it, else missing.
    """
    found = {"trainable": record["parameters"]["trainable"], "seconds": record["seconds"]}
    if "rounds" not in record:
        return found
    rounds = record["rounds"]
    update = update_bytes(record)
    sent = [number / 1e6 for number in bytes_so_far(record)]
    found |= {
        "update_bytes": update,
        "update_share": update / record["parameters"]["full_model_bytes"],
        "megabytes": sent[-1],
    }
    if target is not None:
        dev = [np.mean([scores["accuracy"] for scores in entry["dev"].values()]) for entry in rounds]
        reached = next((i for i, accuracy in enumerate(dev) if accuracy >= target), None)
        found["rounds_to_target"] = np.nan if reached is None else rounds[reached]["round"]
        found["megabytes_to_target"] = np.nan if reached is None else sent[reached]
    return found


def table(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Make the results table of a sweep: one row a setting, the majority class on top.

    Returns
    -------
    pandas.DataFrame
        ``accuracy`` and ``macro_f1`` are means over languages, then over seeds, on the whole test splits; ``interval``
        is half the 95% confidence interval over seeds (Student's t). ``gain`` is the difference in accuracy to the
        sweep's baseline at the same point of the grid, paired by seed, ``gain_interval`` its half interval. One column
        per language follows, and costs. What it took to reach the target is missing unless every seed reached it.
    """
    frame = scores(sweep, records)
    languages, grid = list(dict.fromkeys(frame["language"])), [name for name in grid_fields(sweep) if name in frame]
    rows = [_majority_row(frame, languages)]
    for key, group in frame.groupby(["label", *grid], sort=False, dropna=False):
        by_seed = _by_seed(group)
        means = by_seed.mean(axis=1)
        row = dict(zip(["label", *grid], key, strict=True)) | {"chosen": group["chosen"].iloc[0]}
        row |= {"seeds": len(means), "accuracy": means.mean(), "interval": half_interval(means)}
        row["macro_f1"] = group["macro_f1"].mean()
        row |= _against_baseline(by_seed, _baseline(frame, sweep.baseline, row, grid))
        row |= {language: by_seed[language].mean() for language in languages if language in by_seed}
        numbers = group.drop_duplicates("seed")
        for name in ("trainable", "seconds", "update_bytes", "update_share", "megabytes", *_target_columns(frame)):
            if name in frame:
                row[name] = numbers[name].mean(skipna=name not in _target_columns(frame))
        rows.append(row)
    return pd.DataFrame(rows)


def _by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay out accuracies, a row a seed and a column a language, in the order of the rows; quicker than pivot_table."""
    wide = rows.pivot(index="seed", columns="language", values="accuracy")
    return wide.loc[rows["seed"].unique(), rows["language"].unique()]


def _target_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in ("rounds_to_target", "megabytes_to_target") if name in frame]


def _majority_row(frame: pd.DataFrame, languages: list[str]) -> dict:
    share = frame.groupby("language", sort=False)["majority"].mean()
    return {"label": "majority class", "accuracy": share.mean()} | {name: share[name] for name in languages}


def _baseline(frame: pd.DataFrame, label: str, row: dict, grid: list[str]) -> pd.DataFrame | None:
    """Give the baseline's accuracy by seed and language at the same point of the grid, or where it has no grid."""
    rows = frame[frame["label"] == label]
    for name in grid:
        if rows[name].notna().any() and not pd.isna(row[name]):
            rows = rows[rows[name] == row[name]]
    if row["label"] == label or rows.empty:
        return None
    return _by_seed(rows)


def _against_baseline(by_seed: pd.DataFrame, baseline: pd.DataFrame | None) -> dict:
    if baseline is None:
        return {}
    seeds = by_seed.index.intersection(baseline.index)
    shared = [name for name in by_seed if name in baseline]
    if seeds.empty or not shared:
        return {}
    per_seed = (by_seed.loc[seeds, shared] - baseline.loc[seeds, shared]).mean(axis=1)
    return {"gain": per_seed.mean(), "gain_interval": half_interval(per_seed)}


def show(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Round a table of numbers for reading; what is missing is left empty. The result holds text."""
    return table.astype(float).map(lambda x: "" if pd.isna(x) else f"{x:.{digits}f}")


def half_interval(values, confidence: float = CONFIDENCE) -> float:
    """Half the confidence interval of a mean, by Student's t; missing for fewer than two values.

    With 3 seeds the factor is 4.30 standard errors, not 1.96: few seeds say little, and the interval says so.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan
    return float(t_factor(len(values) - 1, confidence) * values.std(ddof=1) / np.sqrt(len(values)))


@functools.cache
def t_factor(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Give how many standard errors from the mean an interval by Student's t ends.

    The chance of that interval is a finite sum in the angle of tangent t / sqrt(freedom) (Abramowitz and Stegun, 26.7.3
    and 26.7.4), which is searched by halving: importing SciPy takes as long as making a table.
    """

    def inside(angle: float) -> float:
        term = math.sin(angle) * (math.cos(angle) if freedom % 2 else 1.0)
        total = angle + (term if freedom > 1 else 0.0) if freedom % 2 else term
        for k in range(3 if freedom % 2 else 2, freedom, 2):
            term *= (k - 1) / k * math.cos(angle) ** 2
            total += term
        return total * 2 / math.pi if freedom % 2 else total

    low, high = 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def own_interval(record: dict, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give the interval in which a run's mean test accuracy would lie on other test examples of the same kind.

    Normal approximation of the binomial, summed over languages: what a repetition on another processor, where sums
    are rounded differently, should not leave.

    Returns
    -------
    low, high : float
    """
    tests = [record["test"][name] for name in record["config"]["languages"]]
    variance = sum(t["accuracy"] * (1 - t["accuracy"]) / t["examples"] for t in tests) / len(tests) ** 2
    mean = float(np.mean([t["accuracy"] for t in tests]))
    half = float(NormalDist().inv_cdf(0.5 + confidence / 2) * np.sqrt(variance))
    return mean - half, mean + half


def write_tables(sweeps: list[Sweep], records: Store | str | Path, folder: str | Path) -> list[Path]:
    """Write the table of each sweep that has records as a CSV file named after the sweep.

    Returns
    -------
    list of pathlib.Path
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for sweep in sweeps:
        content = table(sweep, records)
        path = Path(folder) / f"{sweep.path.stem}.csv"
        content.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
        written.append(path)
    return written
