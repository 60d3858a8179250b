"""A page that says whether to join a federation, from rows of measured gains; it refuses where there is no row."""

import pandas as pd

from .base import Widget

COLUMNS = ["labels", "topics", "way", "gain", "low", "high", "worst", "language", "MB", "rule"]


def decision_page(table: pd.DataFrame, partners: int = 9) -> Widget:
    """Show what joining is worth to a community whose labels, partners and shared topics the reader gives.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each number of ``labels`` and ``topics`` and ``way`` of joining: ``gain`` in points with its interval
        ``low`` to ``high``, the ``worst`` mean of a ``language``, ``MB`` sent, and what the ``rule`` says.
    partners : int
        How many partners every row has.
    """
    rows = table.filter(COLUMNS).round(1).to_dict("records")
    known = {"labels": sorted(set(table["labels"])), "partners": [partners], "topics": sorted(set(table["topics"]))}
    places = {"labels": known["labels"][0], "partners": partners, "topics": known["topics"][-1]}
    return Widget("fp-decision", "decision_page", {"rows": rows, "known": known}, **places)
