"""The grid of learning rates: what dev says of each, and the one that all settings get."""

from pathlib import Path

import numpy as np
import pandas as pd

from .store import Store, dev_accuracy, open_store
from .sweeps import Sweep, points, settings

RATE = "learning_rate"


def best_dev_loss(record: dict) -> float:
    """Give the dev loss that early stopping kept: of the best round, or the mean over trainings of the lowest."""
    if "rounds" in record:
        return record["rounds"][record["best_round"] - 1]["dev_loss"]
    return float(np.mean([min(entry["dev_loss"] for entry in epochs) for epochs in record["epochs"].values()]))


def table(sweep: Sweep, records: Store | str | Path) -> pd.DataFrame:
    """Make the table of a grid of rates: one row a rate and setting.

    Returns
    -------
    pandas.DataFrame
        ``learning_rate``, ``setting``, ``seeds``, and the means over seeds of ``dev_accuracy`` and ``dev_loss``, both
        as early stopping kept them; empty without records.
    """
    store, rows = open_store(records), []
    for setting in settings(sweep, store.get):
        for record in filter(None, map(store.get, setting.configs)):
            rows.append({RATE: setting.point[RATE], "setting": setting.label, "seeds": 1})
            rows[-1] |= {"dev_accuracy": dev_accuracy(record), "dev_loss": best_dev_loss(record)}
    if not rows:
        return pd.DataFrame()
    means = {"seeds": "sum", "dev_accuracy": "mean", "dev_loss": "mean"}
    return pd.DataFrame(rows).groupby([RATE, "setting"], sort=False).agg(means).reset_index()


def over_settings(content: pd.DataFrame) -> pd.DataFrame:
    """Give for each rate the means over settings of dev accuracy and of dev loss."""
    return content.groupby(RATE)[["dev_accuracy", "dev_loss"]].mean()


def chosen(sweep: Sweep, content: pd.DataFrame) -> float | None:
    """Choose one rate for all settings: the highest mean dev accuracy, of equal ones the lowest mean dev loss.

    None until every rate has all settings with all seeds.
    """
    wanted = {(point[RATE], block["label"]) for block in sweep.blocks for point in points(block)}
    complete = content[content["seeds"] == len(sweep.seeds)] if len(content) else content
    if not len(complete) or wanted - set(zip(complete[RATE], complete["setting"], strict=True)):
        return None
    means = over_settings(content).round(9)  # sums of the same numbers in another order are equal
    return float(means.sort_values(["dev_accuracy", "dev_loss"], ascending=[False, True]).index[0])


def shown(sweep: Sweep, content: pd.DataFrame) -> pd.DataFrame:
    """Make the table of a page: a row a rate, dev accuracy and in brackets dev loss, the chosen rate in bold."""
    best, rows = chosen(sweep, content), []
    for rate, at in content.groupby(RATE):
        bold = "**" if rate == best else ""
        cells = {one["setting"]: f"{one['dev_accuracy']:.3f} ({one['dev_loss']:.2f})" for _, one in at.iterrows()}
        cells["mean"] = f"{at['dev_accuracy'].mean():.3f} ({at['dev_loss'].mean():.2f})"
        rows.append({"rate": f"{bold}{rate:g}{bold}"} | cells | {"seeds": at["seeds"].min()})
    names = ["rate", *dict.fromkeys(content["setting"]), "mean", "seeds"]
    return pd.DataFrame(rows)[names].fillna("")
