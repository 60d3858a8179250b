"""The page of the evidence, ``book/evidence.md``: verdicts, and for each sweep a figure and a table."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fedprompt_helpers.files import write_text
from fedprompt_helpers.plots import PALETTE

from . import rates, transfer
from .evidence import BUDGET, MAJORITY, by_language, scores, table
from .looks import look
from .store import Store
from .sweeps import Sweep
from .verdicts import verdicts

ORDER = ["hypothesis", "verdict", "says", "measured", "rule"]  # a telephone shows the first ones
WHAT = "with e5-small in four bits"


def plot(sweep: Sweep, content: pd.DataFrame) -> plt.Figure | None:
    """Draw a table: accuracy by label budget on a log axis, or a row a setting where there is one budget."""
    if BUDGET not in content:  # a grid of rates is a table alone
        return None
    floor, rows = content[content["setting"] == MAJORITY], content[content["setting"] != MAJORITY]
    names, budgets = list(dict.fromkeys(rows["setting"])), sorted(rows[BUDGET].unique())
    many = len(budgets) > 1
    figure, ax = plt.subplots(figsize=(6.4, 4.4 if many else 1.4 + 0.34 * len(names)), layout="constrained")
    for i, name in enumerate(names):
        at = rows[rows["setting"] == name].sort_values(BUDGET)
        ends = (at["accuracy"] - at["accuracy_low"]).fillna(0)
        style = look(name, i) | {"capsize": 3, "markersize": 5}
        if many:
            ax.errorbar(at[BUDGET] * 1.03 ** (i - len(names) / 2), at["accuracy"], yerr=ends, label=name, **style)
        else:
            ax.errorbar(at["accuracy"], [i], xerr=ends, **style)
    if many:
        ax.plot(floor[BUDGET], floor["accuracy"], color=PALETTE[6], linestyle=":", label=MAJORITY)
        ax.set_xscale("log")
        ax.set_xticks(budgets, [str(budget) for budget in budgets])
        ax.minorticks_off()
        ax.set(xlabel="labels a language, dev among them", ylabel="test accuracy, 95% interval over seeds")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    else:
        ax.axvline(floor["accuracy"].iloc[0], color=PALETTE[6], linestyle=":")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        figure.supxlabel("test accuracy, 95% interval over seeds; dotted: majority class", fontsize="medium")
    return figure


def write(sweeps: list[Sweep], records: Store | str | Path, folder: Path, page: Path) -> list[Path]:
    """Write tables, figures, the verdicts and the page of the evidence; give the files."""
    frames = {sweep.path.stem: READ.get(sweep.path.stem, scores)(sweep, records) for sweep in sweeps}
    made = verdicts(folder / "verdicts.toml", frames)
    made.to_csv(folder / "verdicts.csv", index=False, lineterminator="\n")
    written, parts, shown = [folder / "verdicts.csv"], [HEAD, _markdown(made[ORDER])], set()
    for sweep in sweeps:
        name = sweep.path.stem
        if frames[name].empty:
            continue
        content = TABLES[name](sweep, frames[name]) if name in TABLES else table(sweep, records)
        if content.empty:  # under way: no setting to compare with another yet
            continue
        if {BUDGET, "accuracy", "epochs"} <= {
            *content
        }:  # under way too: every row is another sweep's, whose records it shares
            rows = {tuple(row) for row in content.dropna(subset="seeds")[[BUDGET, "accuracy", "epochs"]].to_numpy()}
            if rows <= shown:
                continue
            shown |= rows
        target, picture = folder / f"{name}.csv", folder / f"{name}.png"
        content.to_csv(target, index=False, float_format="%.6g", lineterminator="\n")
        written.append(target)
        if (figure := PLOTS.get(name, plot)(sweep, content)) is not None:
            figure.savefig(picture, dpi=150, metadata={"Software": None})
            plt.close(figure)
            written.append(picture)
        parts.append(SECTIONS.get(name, _section)(sweep, content))
    write_text(page, "\n".join(parts))
    return [*written, page]


HEAD = f"""# The evidence

<!-- Made by `python -m book.research evidence` from the run records. Do not edit: the next call writes it anew. -->

Every statement here begins "{WHAT}": the backbone is multilingual-e5-small, a sentence-embedding model that was trained
on pairs of titles and news and of translations, not a masked language model as XLM-R is. A *label budget* is all the
labels that a language has; a quarter of them is its dev split. Draws are random, with the corpus's own class shares.
Differences are paired by seed; intervals are 95%, Student's t over seeds. The hypotheses stand in
`book/results/hypotheses.md` and were committed before the first record of their sweep. The rate of the linear layer was
changed after its first records at 1e-2 (*Corrections* there): those rows stand below in a table of their own, and
hypothesis 2.4 is judged at the new rate. A hypothesis *holds* if the whole interval is where its rule says, *partly* if
the mean is, or if some of its tests hold; *not run yet* as long as a seed is missing.
"""


NOTE = (
    "The rate of the linear layer, 1e-1, is the one that dev prefers on average over three settings, at 64 labels and "
    "with three seeds (`rates.toml`). Class means have none. Ridge regression has a penalty instead, 3 for everybody, "
    "chosen on dev without leaving a record. A head that starts from ridge regression and trains on keeps 1e-2.\n"
)
LOWER = (
    "These are layers of the sweep above, trained with the rate of their first runs. It had been chosen for another "
    "head, and `rates.toml` has chosen anew since. At 256 labels it did not run. The two rows of ridge regression are "
    "those above, beside the other baseline.\n"
)
NOTES = {"which_part": NOTE, "linear": NOTE, "lower_rate": LOWER}


def _section(sweep: Sweep, content: pd.DataFrame) -> str:
    shown = pd.DataFrame({"labels": content[BUDGET], "setting": content["setting"]})
    for title, name in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
        ends = (
            zip(content[name], content[f"{name}_low"], content[f"{name}_high"], strict=True) if name in content else []
        )
        shown[title] = [_between(*three) for three in ends]
    shown["own labels"] = content["own_accuracy"].map(_three)
    if "gain" in content:
        ends = zip(content["gain"], content["gain_low"], content["gain_high"], strict=True)
        shown["gain"], shown["worst language"] = (
            [_between(*x, "+") for x in ends],
            content["worst"].map(lambda x: _three(x, "+")),
        )
    for title, name in (("epochs run", "epochs"), ("MB", "megabytes"), ("seeds", "seeds")):
        shown[title] = content[name].map(lambda x: "" if pd.isna(x) else f"{x:,.0f}")
    figure = _figure(sweep, "Test accuracy of each setting below.")
    about = f"Gains are over the row *{sweep.baseline}* at the same budget. Sweep `{sweep.path.name}`.\n"
    about += NOTES.get(sweep.path.stem, "")
    return "\n".join([f"## {sweep.question}\n", about, figure, _markdown(shown)])


def _figure(sweep: Sweep, alt: str) -> str:
    """Give the figure with its caption, and the files behind it."""
    name = sweep.path.stem
    shown = f"```{{figure}} results/evidence/{name}.png\n:alt: {alt}\n\n{sweep.question}\n```\n"
    return f"{shown}\n```{{results-files}} evidence/{name}\n```\n"


def _transfer(sweep: Sweep, content: pd.DataFrame) -> str:
    alt = "A heat map of the table below: a row a teacher, a column a pupil, the best teacher of each pupil framed."
    about = (
        "Ridge regression on the frozen features of one teacher's labels; the pupil gives none. Accuracy in per cent, "
        "mean over seeds, on those test headlines of the pupil whose class is in the label sets of both, with the "
        "labels forbidden that the pupil does not have; in brackets, always guessing the largest class of the same "
        "headlines. These headlines differ from teacher to teacher, so a column is to be read with its brackets. On "
        f"the diagonal a language is tested on itself. Sweep `{sweep.path.name}`, {content['seeds'].min()} seeds.\n"
    )
    return "\n".join([f"## {sweep.question}\n", about, _figure(sweep, alt), _markdown(transfer.shown(content))])


def _rates(sweep: Sweep, content: pd.DataFrame) -> str:
    best, grid = rates.chosen(sweep, content), sorted(set(content[rates.RATE]))
    said = "No rate is chosen yet: runs are missing." if best is None else f"Chosen for all settings: {best:g}."
    said += " It is at the edge of the grid: a better one may lie beyond." if best in (grid[0], grid[-1]) else ""
    about = (
        f"{said} It is the rate with the highest dev accuracy, mean over settings and seeds (of equal ones, that with "
        "the lowest dev loss). In each cell dev accuracy, and in brackets dev loss, as early stopping kept them. Sweep "
        f"`{sweep.path.name}`.\n"
    )
    return "\n".join([f"## {sweep.question}\n", about, _markdown(rates.shown(sweep, content))])


def plot_languages(sweep: Sweep, content: pd.DataFrame) -> plt.Figure:
    """Draw each language's gain over the baseline, with its interval, the fewest labels on top."""
    figure, ax = plt.subplots(figsize=(6.4, 1.4 + 0.4 * len(content)), layout="constrained")
    names = [name.removesuffix(": gain") for name in content if name.endswith(": gain")]
    for i, name in enumerate(names):
        gain, low, high = (100 * content[f"{name}: {end}"] for end in ("gain", "low", "high"))
        style = look(name, i) | {"linestyle": "none", "capsize": 3, "label": name}
        at = np.arange(len(content)) + 0.16 * (i - (len(names) - 1) / 2)
        ax.errorbar(gain, at, xerr=[gain - low, high - gain], **style)
    ax.axvline(0, color=PALETTE[6], linestyle=":")
    labels = zip(content["language"], content[BUDGET], strict=True)
    ax.set_yticks(range(len(content)), [f"{language}, {budget:.0f}" for language, budget in labels])
    ax.invert_yaxis()
    ax.set(xlabel=f"points over {sweep.baseline}, 95% interval over seeds", ylabel="language, and its labels")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def _languages(sweep: Sweep, content: pd.DataFrame) -> str:
    settings = [name for name in content.columns[3:] if ": " not in name]
    shown = pd.DataFrame({"labels": content[BUDGET].map("{:.0f}".format), "language": content["language"]})
    for name in (MAJORITY, *settings):
        shown[name] = content[name].map(_three)
    for name in [name for name in settings if name != sweep.baseline]:
        ends = zip(*(content[f"{name}: {end}"] for end in ("gain", "low", "high")), strict=True)
        shown[f"{name}: gain"] = [_between(*three, "+") for three in ends]
    about = f"Gains of each language over the row *{sweep.baseline}*, paired by seed. Sweep `{sweep.path.name}`.\n"
    figure = _figure(sweep, "The gain of each language with its interval, as in the table below.")
    return "\n".join([f"## {sweep.question}\n", about, figure, _markdown(shown)])


def _by_language(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    return by_language(frame, sweep.baseline, len(sweep.seeds))


READ = {"transfer": transfer.pupils, "rates": rates.table}
TABLES = {
    "transfer": lambda _, frame: transfer.table(frame),
    "rates": lambda _, frame: frame,
    "afrisenti": _by_language,
    "distance": _by_language,
}
PLOTS = {"transfer": lambda _, content: transfer.plot(content), "afrisenti": plot_languages, "distance": plot_languages}
SECTIONS = {"transfer": _transfer, "rates": _rates, "afrisenti": _languages, "distance": _languages}


def _three(value: float, sign: str = "") -> str:
    return "" if pd.isna(value) else f"{value:{sign}.3f}"


def _between(mean: float, low: float, high: float, sign: str = "") -> str:
    return _three(mean, sign) + ("" if pd.isna(low) else f" ({low:{sign}.3f} to {high:{sign}.3f})")


def _markdown(content: pd.DataFrame) -> str:
    rows = [list(content.columns), ["---"] * len(content.columns), *content.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"
