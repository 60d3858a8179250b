"""The book's evidence by its protocol (``book/results/hypotheses.md``): scores, differences, intervals and tables.

Differences are paired by seed, after the mean over languages; intervals are Student's t over seeds, from SciPy. A
bootstrap draws whole seeds and whole languages. There is no test over pairs of seed and language: they are not
independent.
"""

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from fedprompt_helpers.errors import FedPromptError

from .results import costs
from .store import Store, open_store
from .sweeps import Sweep, settings

BUDGET = "label_budget"
MAJORITY = "majority class"
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
        example was really seen, mean over clients, ``megabytes`` sent, those sent until the mean dev accuracy reached
        the sweep's target (missing if no round did) as ``to_target``, and ``seconds``.

    Raises
    ------
    FedPromptError
        If two settings that are compared, with the same seed, budget and share for dev, drew different texts.
    """
    store, rows, drawn = open_store(records), [], {}
    for setting in settings(sweep, store.get):
        for config in setting.configs:
            if (record := store.get(config)) is None:
                continue
            run, labels = {"label": setting.label, "seed": config.seed}, cycle(config.data.label_budget or ())
            budgets = dict(zip(config.data.languages, labels, strict=False))
            cost = costs(record, sweep.target)
            run |= {"epochs": epochs_run(record), "seconds": record["seconds"]}
            run |= {"megabytes": cost.get("megabytes", 0.0), "to_target": cost.get("megabytes_to_target", np.nan)}
            for name, test in record["test"].items():
                draw = config.seed, name, budgets.get(name), config.data.dev_share, name in config.data.unseen
                digest = record["data_digest"][name]
                if drawn.setdefault(draw, digest) != digest:
                    what = f"{record['name']} drew other texts of {name} than another record of seed {config.seed}"
                    raise FedPromptError(f"{sweep.path.name}: {what}; run it again on the data of the others")
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


def by_seed(frame: pd.DataFrame, label: str, budget: int | None = None, column: str = "accuracy") -> pd.Series:
    """Give a setting's mean over languages for each seed that has all of them.

    Without a budget, it is the mean over all budgets, of seeds that have them all.
    """
    if frame.empty:
        return pd.Series(dtype=float)
    at = frame[frame["label"] == label]
    if budget is None:
        return at.groupby([BUDGET, "seed"])[column].mean().unstack(BUDGET).dropna().mean(axis=1)
    seeds = at[at[BUDGET] == budget].groupby("seed")
    complete = seeds["language"].nunique() == frame["language"].nunique()
    return seeds[column].mean()[complete].dropna()


def differences(
    frame: pd.DataFrame, one: str, other: str, budget: int | None, columns: tuple[str, str] = ("accuracy", "accuracy")
) -> pd.Series:
    """Subtract one setting's mean over languages from another's, seed by seed; without a budget, over all of them."""
    first, second = (by_seed(frame, label, budget, name) for label, name in zip((one, other), columns, strict=True))
    return (first - second).dropna()


def finished(frame: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """Keep the settings that have all seeds, at budgets where there are two of them to compare."""
    if frame.empty:
        return frame
    seeds = frame.groupby([BUDGET, "label"])["seed"].transform("nunique")
    whole = frame[seeds == len(sweep.seeds)]
    return whole[whole.groupby(BUDGET)["label"].transform("nunique") > 1]


def table(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Make the table of a sweep: a row a budget and setting, the majority class on top of each budget.

    Returns
    -------
    pandas.DataFrame
        Means over languages, then over seeds; ``low`` and ``high`` are the ends of their 95% intervals over seeds.
        ``gain`` is the difference to the sweep's baseline at the same budget, paired by seed, ``worst`` the smallest
        of the languages' mean gains.
    """
    frame, rows = finished(scores(sweep, records), sweep), []
    if frame.empty:
        return frame
    for budget, at in frame.groupby(BUDGET):
        rows.append(
            {BUDGET: budget, "setting": MAJORITY, "accuracy": at.groupby("language")["majority"].first().mean()}
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


def by_language(frame: pd.DataFrame, baseline: str, seeds: int) -> pd.DataFrame:
    """Make the table of a sweep language by language, where each has labels of its own number, the fewest first.

    Returns
    -------
    pandas.DataFrame
        A row a language: its labels, majority class, the accuracy of each setting that has all `seeds` and, in columns
        ``SETTING: gain``, ``low`` and ``high``, its difference to the baseline, paired by seed, with its interval.
    """
    rows = []
    whole = [name for name, at in frame.groupby("label", sort=False) if at["seed"].nunique() == seeds]
    if len(whole) < 2 or baseline not in whole:
        return pd.DataFrame()
    for (budget, language), at in frame.groupby([BUDGET, "language"]):
        wide = at.pivot(index="seed", columns="label", values="accuracy")
        row = {BUDGET: budget, "language": language, MAJORITY: at["majority"].mean(), **wide[whole].mean()}
        for name in [name for name in whole if name != baseline]:
            gain = wide[name] - wide[baseline]
            row[f"{name}: gain"] = gain.mean()
            row[f"{name}: low"], row[f"{name}: high"] = interval(gain)
        rows.append(row)
    return pd.DataFrame(rows)


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
