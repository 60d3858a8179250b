"""The look of the book's figures, colour-blind safe, and pictures of partitions and run records. Nothing here trains.

Importing this module gives every figure drawn afterwards the book's `STYLE`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import get_font_names

from .errors import FedPromptError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A100")
"""Okabe and Ito's colours (Color Universal Design, 2008), yellow darkened and black lightened for both themes."""

MARKERS = "osD^vPX*"
_SCRIPTS = ("", " Devanagari", " Bengali", " Ethiopic", " Arabic", " Thai", " CJK JP")
_FONTS = ["DejaVu Sans", *(f"Noto Sans{script}" for script in _SCRIPTS)]

STYLE = {
    "font.family": [name for name in _FONTS if name in get_font_names()],  # each is asked for what those before lack
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": "small",
}
"""For ``matplotlib.rcParams``: colours, no box around plots, and fonts for every script where they are there."""

plt.rcParams.update(STYLE)


def _axes(width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def plot_partition(
    table: np.ndarray, columns: list[str], rows: list[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw who holds what (chapter 4): one bar a client, one colour a label or language; give the axes.

    Parameters
    ----------
    table : numpy.ndarray
        Shape ``(clients, columns)``, int: numbers of examples, from ``counts``.
    columns, rows : list of str
        Names of the labels or languages, and of the clients; default: client 0, client 1, ...
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    """
    table = np.asarray(table)
    rows = rows or [f"client {i}" for i in range(len(table))]
    ax = ax or _axes(7, max(0.9 + 0.35 * len(rows), 0.5 + 0.21 * len(columns)))  # the legend needs room too
    left = np.zeros(len(rows))
    for i, (name, values) in enumerate(zip(columns, table.T, strict=True)):
        look = {"color": PALETTE[i % len(PALETTE)], "hatch": "///" if i >= len(PALETTE) else None}
        ax.barh(rows, values, left=left, label=name, edgecolor="white", linewidth=0.5, **look)
        left += values
    ax.invert_yaxis()
    ax.set_xlabel("training examples")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    return ax


def plot_rounds(record: dict, *, ax: Axes | None = None) -> Axes:
    """Draw dev accuracy by round (or epoch), one line a language, and the majority class dotted; give the axes.

    Parameters
    ----------
    record : dict
        A run record, from ``load_record``.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    """
    ax, step = ax or _axes(7, 3.6), "round" if "rounds" in record else "epoch"
    if step == "round":
        rounds = record["rounds"]
        lines = {x: [r["dev"][x]["accuracy"] for r in rounds if x in r["dev"]] for x in record["test"]}
    else:
        lines = {name: [epoch["dev_accuracy"] for epoch in epochs] for name, epochs in record["epochs"].items()}
    for i, (name, y) in enumerate(lines.items()):
        color = PALETTE[i % len(PALETTE)]
        ax.plot(range(1, len(y) + 1), y, color=color, marker=MARKERS[i % len(MARKERS)], label=name)
        if name in record["majority"]:
            ax.axhline(record["majority"][name], color=color, linestyle=":", linewidth=1)
    ax.set(xlabel=step, ylabel="accuracy on the dev split", ylim=(0, 1))
    ax.set_title("dotted: always guessing the majority class", fontsize="small")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02))
    return ax


def save_plot(axes: Axes, target: Path) -> None:
    """Save the figure of a plot and say where."""
    try:
        axes.figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise FedPromptError(f"cannot save the plot to {target}: {error}; name a .png file with --plot") from error
    print(f"plot: {target}")
