"""Transfer of the evidence: what one language teaches another, on the classes that both have."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .evidence import DRAWS, interval
from .store import Store, open_store
from .sweeps import Sweep, settings


def pupils(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Score every pupil of every teacher: one row a teacher, pupil and seed.

    Parameters
    ----------
    sweep : Sweep
        Its runs train on one language each; the others are only tested.
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        ``teacher``, ``pupil``, ``seed``; ``classes`` that both have, ``rows`` of the pupil's test split of these
        classes, ``accuracy`` on them with the labels forbidden that the pupil does not have, and ``floor``, the share
        of the largest class among them. The teacher is a pupil of its own too.
    """
    store, rows = open_store(records), []
    for setting in settings(sweep, store.get):
        for config in setting.configs:
            if (record := store.get(config)) is None:
                continue
            (teacher,), sets = config.data.languages, record["label_sets"]
            for pupil, told in record["predictions"].items():
                shared = sorted(set(sets[teacher]) & set(sets[pupil]))
                truth, guesses = ([_number(x) for x in told[name]] for name in ("truth", "own_guesses"))
                known = np.isin(truth, [record["labels"].index(label) for label in shared])
                rows.append({"teacher": teacher, "pupil": pupil, "seed": config.seed, "classes": len(shared)})
                right, held = np.equal(truth, guesses)[known], np.bincount(np.array(truth)[known])
                rows[-1] |= {"rows": int(known.sum()), "accuracy": right.mean(), "floor": held.max() / known.sum()}
    return pd.DataFrame(rows)


def _number(label: str | int) -> int:
    """Read a label of a record's predictions: a digit or letter, or a number where there are many labels."""
    return label if isinstance(label, int) else int(label, 36)


def best_teachers(frame: pd.DataFrame) -> tuple[float, float, float, int, str] | None:
    """Give the share of pupils that have the commonest best teacher, with the 95% interval of a bootstrap over seeds.

    Returns
    -------
    tuple or None
        Share, its ends, how many seeds have all teachers and pupils, and what to tell a reader; None for fewer than two
        seeds.
    """
    if frame.empty:
        return None
    names, scores = sorted(set(frame["pupil"])), {}
    for name in ("accuracy", "floor"):
        wide = frame.pivot(index="seed", columns=["pupil", "teacher"], values=name)
        wide = wide.reindex(columns=pd.MultiIndex.from_product([names, names])).dropna()
        scores[name] = wide.to_numpy().reshape(-1, len(names), len(names))
    if (seeds := len(scores["accuracy"])) < 2:
        return None
    own = np.where(np.eye(len(names), dtype=bool), -np.inf, 0)  # nobody is his own teacher
    drawn = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
    times = (drawn[:, :, None] == np.arange(seeds)).mean(axis=1)
    mean, many = scores["accuracy"].mean(axis=0) + own, np.tensordot(times, scores["accuracy"], 1) + own
    (share, who), (lead, leader) = (_commonest(x, names) for x in (mean, mean - scores["floor"].mean(axis=0)))
    best = many.argmax(axis=-1)
    counts = (best[..., None] == np.arange(len(names))).sum(axis=1).max(axis=1) / len(names)
    low, high = np.quantile(counts, [0.025, 0.975])
    said = f"{who} is best for {share:.0%} of {len(names)} pupils ({low:.0%} to {high:.0%}); by the lead over the "
    said += f"majority class, {leader} for {lead:.0%}"
    return share, float(low), float(high), seeds, said


def _commonest(scores: np.ndarray, names: list[str]) -> tuple[float, str]:
    """Give the share of pupils (rows) whose best teacher (column) is the commonest one, and its name."""
    times = np.bincount(scores.argmax(axis=1), minlength=len(names))
    return float(times.max() / len(names)), names[int(times.argmax())]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the table of transfer: one row a teacher and pupil, means and 95% intervals over seeds."""
    if frame.empty:
        return frame
    groups = frame.groupby(["teacher", "pupil"])
    made = groups.agg(
        classes=("classes", "first"),
        rows=("rows", "first"),
        seeds=("seed", "nunique"),
        accuracy=("accuracy", "mean"),
        floor=("floor", "mean"),
    )
    ends = groups["accuracy"].agg(interval)
    made["accuracy_low"], made["accuracy_high"] = ends.str[0], ends.str[1]
    return made.reset_index()


def square(content: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give accuracy and floor as squares, a row a teacher and a column a pupil."""
    return tuple(content.pivot(index="teacher", columns="pupil", values=name) for name in ("accuracy", "floor"))  # type: ignore


def plot(content: pd.DataFrame) -> plt.Figure:
    """Draw a heat map of a table: teacher by pupil, the majority class below; each pupil's best teacher has a frame.

    Narrow, so that its letters can be read on a telephone.
    """
    accuracy, floor = square(content)
    others = accuracy.where(accuracy.index.to_numpy()[:, None] != accuracy.columns.to_numpy())
    figure, ax = plt.subplots(figsize=(4.6, 5.0), layout="constrained")
    shown = np.vstack([accuracy.to_numpy(), np.full(len(accuracy.columns), np.nan), _floors(floor)])
    low, high = np.nanmin(shown), np.nanmax(shown)
    ax.imshow(shown, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(shown):
        if not np.isnan(value):
            dark = (value - low) < 0.55 * (high - low)
            ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color="white" if dark else "black",
                    fontsize=9, style="italic" if row == column else "normal")  # fmt: skip
    for column, pupil in enumerate(others):
        if others[pupil].notna().any():
            corner = (column - 0.47, others.index.get_loc(others[pupil].idxmax()) - 0.47)
            ax.add_patch(plt.Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="#D55E00", linewidth=2))
    ax.set_xticks(range(len(accuracy.columns)), accuracy.columns, rotation=45)
    ax.set_yticks([*range(len(accuracy)), len(accuracy) + 1], [*accuracy.index, "majority"])
    ax.set(xlabel="pupil", ylabel="teacher")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("test accuracy (%) on shared classes\nframe: best teacher; italics: itself", fontsize="medium")
    return figure


def _floors(floor: pd.DataFrame) -> np.ndarray:
    """Give the mean floor of each pupil over its teachers, itself left out."""
    return floor.where(floor.index.to_numpy()[:, None] != floor.columns.to_numpy()).mean().to_numpy()


def shown(content: pd.DataFrame) -> pd.DataFrame:
    """Make the square of a page: accuracy, and in brackets the majority class on the same rows."""
    accuracy, floor = square(content)
    cells = accuracy.map(_percent) + " (" + floor.map(_percent) + ")"
    cells = cells.where(accuracy.notna(), "").reset_index().rename(columns={"teacher": "teacher, pupil in columns"})
    last = ["majority class, mean", *(_percent(x) for x in _floors(floor))]
    return pd.concat([cells, pd.DataFrame([last], columns=cells.columns)], ignore_index=True)


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{100 * value:.0f}"
