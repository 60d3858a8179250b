"""An explorer of results: choose a question, see its settings, their intervals and every seed.

It embeds the scores of every run of a sweep, as ``results.scores`` gives them. What is drawn from them stands in
``results_formula.js``: a value a seed (the mean over languages, or one language; less that of the baseline's same seed
for the gain), their mean, and half their 95% interval by Student's t.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from scipy import stats

from book.research.results import scores
from book.research.store import Store, open_store
from book.research.sweeps import Sweep, grid_fields, has_record
from book.widgets.base import Widget
from fedprompt_helpers.errors import FedPromptError, check_choice
from fedprompt_helpers.plots import PALETTE

HERE = Path(__file__).resolve().parent
MEASURES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
_KEYS = {"question", "languages", "majority", "settings"}


def results_explorer(data: Mapping[str, Mapping], *, first: str | None = None) -> Widget:
    """Show the settings of a question to choose, each with its mean, its 95% interval and every seed.

    Parameters
    ----------
    data : mapping of str to mapping
        Name of a question to what is shown for it, as ``explorer_data`` and ``sweep_data`` give it.
    first : str, optional
        Name of the question shown first.

    Returns
    -------
    Widget
        Works in a live notebook and in a stored page: no kernel, no network.

    Raises
    ------
    FedPromptError
        If there is no question, one lacks something, or `first` is none of them.
    """
    if not data:
        raise FedPromptError("no question to show; give the explorer at least one, with its settings and their scores")
    for name, of in data.items():
        if lacking := sorted(_KEYS - set(of)):
            raise FedPromptError(f"the question {name!r} lacks {', '.join(lacking)}; give all of {sorted(_KEYS)}")
    first = check_choice("question", first or next(iter(data)), data)
    most = max((len(setting["seeds"]) for of in data.values() for setting in of["settings"]), default=0)
    t = {n: round(float(stats.t.ppf(0.975, n - 1)), 6) for n in range(2, most + 1)}
    embedded = {"sweeps": dict(data), "t": t, "measures": MEASURES, "colours": PALETTE[:2]}
    questions = {name: of["question"] or name for name, of in data.items()}
    places = {"questions": _options(questions, first), "measures": _options(MEASURES, "accuracy")}
    files = {"formula": "results_formula.js", "folder": HERE}
    return Widget("fp-res", "results_explorer", embedded, **files, **places)


def _options(texts: Mapping[str, str], chosen: str) -> list[dict]:
    return [{"name": name, "text": text, "on": " selected" * (name == chosen)} for name, text in texts.items()]


def explorer_data(sweeps: Iterable[Sweep], records: Store | str | Path) -> dict[str, dict]:
    """Give what ``results_explorer`` draws.

    Parameters
    ----------
    sweeps : iterable of Sweep
        From ``sweeps.read_sweep``; those without a record are left out.
    records : Store or path
        The run records, or their file.

    Returns
    -------
    dict of str to dict
        Name of the sweep file, without ``.toml``, to what ``sweep_data`` gives.

    Raises
    ------
    FedPromptError
        If no sweep has a record.
    """
    store = open_store(records)
    data = {one.path.stem: sweep_data(one, store) for one in sweeps if has_record(one, store)}
    if not data:
        raise FedPromptError(f"no sweep given has a run record in {store.path}; name another file, or run a sweep")
    return data


def sweep_data(sweep: Sweep, records: Store | str | Path) -> dict:
    """Give the scores of every run of a sweep, and each setting's baseline.

    Parameters
    ----------
    sweep, records : Sweep, Store or path
        As in ``results.scores``, which refuses a sweep without a record.

    Returns
    -------
    dict
        ``question``, ``languages``, ``majority`` (measure to language to score), and ``settings`` in the order of
        ``results.table``: ``name``, ``seeds``, ``baseline`` (whether it is one), ``base`` (place of the baseline at
        the same point of the grid, or None) and, by measure and language, one score a seed.
    """
    frame = scores(sweep, records)
    grid = [name for name in grid_fields(sweep) if name in frame]
    groups = list(frame.groupby(["label", *grid], sort=False, dropna=False))
    points = [dict(zip(["label", *grid], key, strict=True)) for key, _ in groups]
    settings = []
    for name, point, (_, rows) in zip(_names(points, grid), points, groups, strict=True):
        seeds = [int(seed) for seed in rows["seed"].unique()]
        setting = {"name": name, "seeds": seeds, "baseline": point["label"] == sweep.baseline}
        setting["base"] = _base(points, point, sweep.baseline, grid)
        for measure in MEASURES:
            wide = rows.pivot_table(index="seed", columns="language", values=measure, sort=False).reindex(seeds)
            setting[measure] = {x: [None if pd.isna(v) else round(v, 5) for v in wide[x]] for x in wide}
        settings.append(setting)
    share = frame.groupby("language", sort=False)["majority"].mean()
    scorers = {"accuracy": float, "macro_f1": majority_macro_f1}
    majority = {measure: {x: round(score(p), 5) for x, p in share.items()} for measure, score in scorers.items()}
    return {"question": sweep.question, "languages": list(share.index), "majority": majority, "settings": settings}


def majority_macro_f1(share: float) -> float:
    """Give the largest macro-F1 that always guessing the most frequent class can have.

    Its F1 is ``2 share / (1 + share)``, that of any other class 0. Records do not say how many classes a test split
    has, but if the most frequent one has this share there are at least ``1 / share``.
    """
    return 2 * share / (1 + share) / math.ceil(1 / share - 1e-9)


def _names(points: list[dict], grid: list[str]) -> list[str]:
    """Name every setting by its label and as many fields of the grid as tell them apart."""
    names = [point["label"] for point in points]
    for field in grid:
        if len(set(names)) < len(names):
            texts = [f"{p[field]:g}" if isinstance(p[field], int | float) else str(p[field]) for p in points]
            texts = [f", {field.replace('_', ' ')} {text}" for text in texts]
            twice = [names.count(name) > 1 and not pd.isna(p[field]) for name, p in zip(names, points, strict=True)]
            names = [n + text * more for n, text, more in zip(names, texts, twice, strict=True)]
    return names


def _base(points: list[dict], point: dict, label: str, grid: list[str]) -> int | None:
    """Find the baseline at the same point of the grid, or where it has no grid, as ``results.table`` does."""
    places = [i for i, other in enumerate(points) if other["label"] == label]
    for name in grid:
        if not pd.isna(point[name]) and any(not pd.isna(points[i][name]) for i in places):
            places = [i for i in places if points[i][name] == point[name]]
    return places[0] if len(places) == 1 and point["label"] != label else None
