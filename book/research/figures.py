"""Figures of sweeps, from their tables: one dot or line a setting, with its 95% interval."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fedprompt_helpers.plots import PALETTE

from .looks import look, who
from .results import table
from .store import Store
from .sweeps import Sweep, grid_fields


def plot_sweep(sweep: Sweep, records: Store | str | Path, *, ax: Axes | None = None) -> Axes:
    """Draw the mean test accuracy of every setting: curves along a grid of numbers, else one row a setting.

    Parameters
    ----------
    sweep : Sweep
        From ``sweeps.read_sweep``.
    records : path
        The file of run records.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
    """
    content = table(sweep, records)
    along = next((name for name in grid_fields(sweep) if _is_axis(content, name)), None)
    if ax is None:
        height = 3.8 if along else 1.2 + 0.32 * len(content)
        _, ax = plt.subplots(figsize=(7.5, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    if along:
        _curves(ax, content, along)
    else:
        _rows(ax, content, [name for name in grid_fields(sweep) if name in content][:1])
    majority = content["accuracy"].iloc[0]
    line = ax.axhline if along else ax.axvline
    line(majority, color=PALETTE[6], linestyle=":", label="majority class")
    if along:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize="small", frameon=False)
    return ax


def _is_axis(content: pd.DataFrame, name: str) -> bool:
    """Whether a grid field can be an axis: at least three numbers, and every setting has one."""
    if name not in content:  # none of the settings along it has a record yet
        return False
    values = content[name].iloc[1:]
    return values.notna().all() and sum(isinstance(x, int | float) for x in values.unique()) >= 3


def _curves(ax: Axes, content: pd.DataFrame, along: str) -> None:
    ticks = {}
    for i, (label, rows) in enumerate(content.iloc[1:].groupby("label", sort=False)):
        numbers = pd.to_numeric(rows[along], errors="coerce")
        # "all" lies one step beyond the largest number.
        x = numbers.fillna(2 * numbers.max()).to_numpy(float)
        half = rows["interval"].fillna(0)
        ax.errorbar(x, rows["accuracy"], yerr=half, capsize=3, label=label, **look(str(label), i))
        ticks |= {at: f"{value:g}" for at, value in zip(x, rows[along], strict=True)}
    ax.set(xlabel=along.replace("_", " "), ylabel="test accuracy, mean and 95% interval")
    if min(ticks) > 0 and max(ticks) / min(ticks) > 8:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(list(ticks), list(ticks.values()))


def _rows(ax: Axes, content: pd.DataFrame, grid: list[str]) -> None:
    rows = content.iloc[1:]
    names = [_name(row, grid) for _, row in rows.iterrows()]
    positions = np.arange(len(rows))
    for y, (_, row) in enumerate(rows.iterrows()):
        style = look(row["label"]) if who(row["label"]) else {"color": "0.2", "marker": "o"}
        half = 0 if pd.isna(row["interval"]) else row["interval"]
        ax.errorbar(row["accuracy"], y, xerr=half, capsize=3, markersize=5, **style)
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.figure.supxlabel("test accuracy, mean and 95% interval; dotted: the majority class", fontsize="medium")
    ax.xaxis.grid(True, alpha=0.3)


def _name(row: pd.Series, grid: list[str]) -> str:
    """Name a row by its label and its place on the grid; further fields of a grid go along with the first."""
    extra = [f"({name.replace('_', ' ')} {row[name]:g})" for name in grid if not pd.isna(row[name])]
    return " ".join([row["label"], *extra])


def write_figures(sweeps: list[Sweep], records: Store | str | Path, folder: str | Path) -> list[Path]:
    """Draw each sweep as a PNG file named after it.

    Returns
    -------
    list of pathlib.Path
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for sweep in sweeps:
        ax = plot_sweep(sweep, records)
        ax.figure.suptitle(sweep.question, fontsize="medium")  # over the whole figure, which is wider than the axes
        path = Path(folder) / f"{sweep.path.stem}.png"
        ax.figure.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(ax.figure)
        written.append(path)
    return written
