"""The book's evidence by its protocol (``book/results/hypotheses.md``): tables, figures, and what came of hypotheses.

Differences are paired by seed, after the mean over languages; intervals are Student's t over seeds, from SciPy. A
bootstrap draws whole seeds and whole languages. There is no test over pairs of seed and language: they are not
independent.
"""

import tomllib
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from fedprompt_helpers.files import write_text
from fedprompt_helpers.plots import MARKERS, PALETTE
from fedprompt_helpers.records import bytes_so_far

from .store import Store, open_store
from .sweeps import Sweep, settings

BUDGET = "label_budget"
WHAT = "with e5-small in four bits"
DRAWS = 10_000


def scores(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Collect the test scores of a sweep: one row a setting, label budget, seed and language.

    Parameters
    ----------
    sweep : Sweep
        From ``sweeps.read_sweep``; its configurations have a label budget.
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        ``label``, ``label_budget``, ``seed``, ``language``; ``accuracy`` and ``macro_f1``; ``own_accuracy``: with the
        labels forbidden that the language does not have; ``majority``; and of the whole run ``epochs`` that each
        example was really seen, mean over clients, ``megabytes`` sent and ``seconds``.
    """
    store, rows = open_store(records), []
    for setting in settings(sweep, store.get):
        for config in setting.configs:
            if (record := store.get(config)) is None:
                continue
            run, labels = {"label": setting.label, "seed": config.seed}, cycle(config.data.label_budget or ())
            budgets = dict(zip(config.data.languages, labels, strict=False))
            run |= {"epochs": epochs_run(record), "seconds": record["seconds"]}
            run["megabytes"] = bytes_so_far(record)[-1] / 1e6 if "rounds" in record else 0.0
            for name, test in record["test"].items():
                kept = {key: test[key] for key in ("accuracy", "macro_f1", "own_accuracy")}
                rows.append(
                    run | {BUDGET: budgets.get(name), "language": name, "majority": record["majority"][name]} | kept
                )
    return pd.DataFrame(rows)


def epochs_run(record: dict) -> float:
    """Say how many epochs a run really took before early stopping ended it: a limit is not what was used."""
    if "rounds" in record:
        config = record["config"]
        return len(record["rounds"]) * config["local_epochs"] + config["personal_epochs"]
    return float(np.mean([len(epochs) for epochs in record["epochs"].values()]))


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Give the 95% confidence interval of a mean over seeds, by Student's t; missing for fewer than two."""
    values = np.asarray(list(values), dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def differences(
    frame: pd.DataFrame, one: str, other: str, budget: int | None, columns: tuple[str, str] = ("accuracy", "accuracy")
) -> pd.Series:
    """Subtract one setting's mean over languages from another's, seed by seed; without a budget, over all of them."""
    means = frame.groupby(["label", BUDGET, "seed"])[list(dict.fromkeys(columns))].mean()
    if not {one, other} <= set(means.index.get_level_values("label")):
        return pd.Series(dtype=float)
    wide = (means[columns[0]][one] - means[columns[1]][other]).unstack(BUDGET)
    wide = wide.dropna() if budget is None else wide
    if budget is None:
        return wide.mean(axis=1)
    return wide[budget].dropna() if budget in wide else pd.Series(dtype=float)


def table(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Make the table of a sweep: a row a budget and setting, the majority class on top of each budget.

    Returns
    -------
    pandas.DataFrame
        Means over languages, then over seeds; ``low`` and ``high`` are the ends of their 95% intervals over seeds.
        ``gain`` is the difference to the sweep's baseline at the same budget, paired by seed, ``worst`` the smallest
        of the languages' mean gains.
    """
    frame, rows = scores(sweep, records), []
    if frame.empty:
        return frame
    for budget, at in frame.groupby(BUDGET):
        rows.append(
            {BUDGET: budget, "setting": "majority class", "accuracy": at.groupby("language")["majority"].first().mean()}
        )
        base = at[at["label"] == sweep.baseline].pivot(index="seed", columns="language", values="accuracy")
        for label, group in at.groupby("label", sort=False):
            by_seed = group.groupby("seed")[
                ["accuracy", "macro_f1", "own_accuracy", "epochs", "megabytes", "seconds"]
            ].mean()
            row = {BUDGET: budget, "setting": label, "seeds": len(by_seed), **by_seed.mean()}
            for name in ("accuracy", "macro_f1"):
                row[f"{name}_low"], row[f"{name}_high"] = interval(by_seed[name])
            row["spread"] = by_seed["accuracy"].std()
            if label != sweep.baseline and not base.empty:
                gain = (group.pivot(index="seed", columns="language", values="accuracy") - base).dropna()
                if len(gain):
                    row |= {"gain": gain.mean(axis=1).mean(), "worst": gain.mean().min()}
                    row["gain_low"], row["gain_high"] = interval(gain.mean(axis=1))
            rows.append(row)
    order = [
        BUDGET,
        "setting",
        "seeds",
        "epochs",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "macro_f1",
        "macro_f1_low",
    ]
    order += [
        "macro_f1_high",
        "own_accuracy",
        "spread",
        "gain",
        "gain_low",
        "gain_high",
        "worst",
        "megabytes",
        "seconds",
    ]
    made = pd.DataFrame(rows)
    return made[[name for name in order if name in made]]


def bootstrap(frame: pd.DataFrame, one: str, other: str, budget: int, seed: int = 0) -> tuple[float, float]:
    """Give the 95% interval of a difference by drawing whole seeds and whole languages with replacement."""
    at = frame[frame[BUDGET] == budget]
    wide = at.pivot(index=["seed", "language"], columns="label", values="accuracy")
    table = (wide[one] - wide[other]).unstack("language").dropna().to_numpy()
    rng = np.random.default_rng(seed)
    seeds, languages = (rng.integers(n, size=(DRAWS, n)) for n in table.shape)
    means = [table[np.ix_(rows, columns)].mean() for rows, columns in zip(seeds, languages, strict=True)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def verdicts(path: Path, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Say of each hypothesis what was measured, and the verdict by its rule.

    `path` is a TOML file with a ``[[hypothesis]]`` for each: its number, what it says, and tests. A test names sweep,
    two settings, perhaps a column of each, a budget (none: the mean over budgets), and ``at_least`` or ``not_above``,
    in points. It holds if the whole 95% interval is at least ``at_least``, or, for ``not_above``, unless the whole
    interval is above; partly, if the mean is. A hypothesis holds if all of its tests do, partly if some do at least
    partly.
    """
    rows = []
    for each in tomllib.loads(path.read_text("utf-8"))["hypothesis"]:
        found, said = [], []
        for test in each["tests"]:
            frame, budget = frames.get(test["sweep"], pd.DataFrame()), test.get("budget")
            columns = tuple(test.get("columns", ("accuracy", "accuracy")))
            values = differences(frame, *test["settings"], budget, columns) if len(frame) else []
            if len(values) < 2:
                found.append(None)
                continue
            mean, (low, high) = 100 * np.mean(values), (100 * x for x in interval(values))
            where = f"at {budget}" if budget else "mean of the budgets"
            said.append(f"{where} {mean:+.1f} ({low:+.1f} to {high:+.1f}), {len(values)} seeds")
            if "at_least" in test:
                found.append(2 if low >= test["at_least"] else int(mean >= test["at_least"]))
            else:
                found.append(2 if low <= test["not_above"] else 0)
        if None in found:
            verdict = "not run yet"
        else:
            verdict = "holds" if min(found) == 2 else "holds partly" if max(found) else "does not hold here"
        rows.append(
            {"hypothesis": each["number"], "says": each["says"], "measured": "; ".join(said), "verdict": verdict}
        )
    return pd.DataFrame(rows)


def plot(sweep: Sweep, records: Store | str | Path) -> plt.Figure | None:
    """Draw accuracy by label budget on a log axis, or a row a setting where there is one budget; None: no records."""
    content = table(sweep, records)
    if content.empty:
        return None
    floor, rows = content[content["setting"] == "majority class"], content[content["setting"] != "majority class"]
    names, budgets = list(dict.fromkeys(rows["setting"])), sorted(rows[BUDGET].unique())
    many = len(budgets) > 1
    figure, ax = plt.subplots(figsize=(6.4, 4.4 if many else 1.4 + 0.34 * len(names)), layout="constrained")
    for i, name in enumerate(names):
        at = rows[rows["setting"] == name].sort_values(BUDGET)
        ends = (at["accuracy"] - at["accuracy_low"]).fillna(0)
        look = {"color": PALETTE[i % 8], "marker": MARKERS[i % 8], "capsize": 3, "markersize": 5}
        if many:
            ax.errorbar(at[BUDGET] * 1.03 ** (i - len(names) / 2), at["accuracy"], yerr=ends, label=name, **look)
        else:
            ax.errorbar(at["accuracy"], [i], xerr=ends, **look)
    if many:
        ax.plot(floor[BUDGET], floor["accuracy"], color=PALETTE[6], linestyle=":", label="majority class")
        ax.set_xscale("log")
        ax.set_xticks(budgets, [str(budget) for budget in budgets])
        ax.minorticks_off()
        ax.set(xlabel="labels a language, dev among them", ylabel="test accuracy, 95% interval over seeds")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    else:
        ax.axvline(floor["accuracy"].iloc[0], color=PALETTE[6], linestyle=":")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel("test accuracy, 95% interval over seeds; dotted: majority class")
    return figure


def write(sweeps: list[Sweep], records: Store | str | Path, folder: Path, page: Path) -> list[Path]:
    """Write tables, figures, the verdicts and the page of the evidence; give the files."""
    frames = {sweep.path.stem: scores(sweep, records) for sweep in sweeps}
    made = verdicts(folder / "verdicts.toml", frames)
    made.to_csv(folder / "verdicts.csv", index=False, lineterminator="\n")
    written, parts = [folder / "verdicts.csv"], [HEAD, _markdown(made)]
    for sweep in sweeps:
        if frames[sweep.path.stem].empty:
            continue
        content, target = table(sweep, records), folder / f"{sweep.path.stem}.csv"
        content.to_csv(target, index=False, float_format="%.6g", lineterminator="\n")
        figure, picture = plot(sweep, records), folder / f"{sweep.path.stem}.png"
        assert figure is not None
        figure.savefig(picture, dpi=150, metadata={"Software": None})
        plt.close(figure)
        written += [target, picture]
        parts.append(_section(sweep, content))
    write_text(page, "\n".join(parts))
    return [*written, page]


HEAD = f"""# The evidence

<!-- Made by `python -m book.research evidence` from the run records. Do not edit: the next call writes it anew. -->

Every statement here begins "{WHAT}": the backbone is multilingual-e5-small, a sentence-embedding model that was trained
on pairs of titles and news and of translations, not a masked language model as XLM-R is. A *label budget* is all the
labels that a language has; a quarter of them is its dev split. Draws are random, with the corpus's own class shares.
Differences are paired by seed; intervals are 95%, Student's t over seeds. The hypotheses stand in
`book/results/hypotheses.md` and were committed before the first record of their sweep. A hypothesis *holds* if the
whole interval is where it says, *partly* if the mean is.
"""


NOTE = (
    "The learning rate of the linear layer, 1e-2, was chosen for another head (the backbone's own, of two layers). "
    "With it FedAvg of the linear layer hardly learns: its rows wait for a rate of their own, and nothing follows from "
    "them. Ridge regression and class means have no rate.\n"
)
NOTES = {"which_part": NOTE, "linear": NOTE}


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
    figure = f"```{{figure}} results/evidence/{sweep.path.stem}.png\n:alt: Test accuracy of each setting below.\n```\n"
    about = f"Gains are over the row *{sweep.baseline}* at the same budget. Sweep `{sweep.path.name}`.\n"
    about += NOTES.get(sweep.path.stem, "")
    return "\n".join([f"## {sweep.question}\n", about, figure, _markdown(shown)])


def _three(value: float, sign: str = "") -> str:
    return "" if pd.isna(value) else f"{value:{sign}.3f}"


def _between(mean: float, low: float, high: float, sign: str = "") -> str:
    return _three(mean, sign) + ("" if pd.isna(low) else f" ({low:{sign}.3f} to {high:{sign}.3f})")


def _markdown(content: pd.DataFrame) -> str:
    rows = [list(content.columns), ["---"] * len(content.columns), *content.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"
