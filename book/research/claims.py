"""The paper's claims beside what was measured: claims and the paper's figures from a file, our figures from tables."""

import tomllib
from pathlib import Path

import pandas as pd

from fedprompt_helpers.errors import FedPromptError, check_choice

from .gains import correlations, gains_table
from .results import table
from .store import Store
from .sweeps import Sweep

VERDICTS = ("holds", "holds partly", "does not hold here", "cannot be checked here")
KEYS = ("claim", "paper", "measure", "verdict", "reason")


def claims_table(path: str | Path, sweeps: list[Sweep], records: Store | str | Path) -> pd.DataFrame:
    """Put each claim of the paper beside our measurement and the verdict.

    Parameters
    ----------
    path : path
        TOML file with ``[[claim]]`` tables: ``claim`` and ``paper`` (what the paper reports), ``measure`` (a list of
        tables that say where our figures stand), ``verdict`` (one of ``VERDICTS``), ``reason``. A measure has ``what``,
        ``scale``, ``digits`` and ``unit``, and either ``sweep``, ``row``, ``column`` and optionally ``at`` (fields of
        the sweep's grid): a figure of a results table; or ``correlation`` (``"distance"`` or ``"train_size"``) and
        ``sweep``: that of the gain, from ``gains.correlations``; or ``count`` (a count of
        ``fedprompt_helpers.model.counting.count_without_weights``) and the arguments of that function.
    sweeps : list of Sweep
        The sweeps that measures may name.
    records : path
        The file of run records.

    Returns
    -------
    pandas.DataFrame
        Columns ``claim``, ``paper``, ``ours``, ``verdict``, ``reason``; all text.

    Raises
    ------
    FedPromptError
        If a claim lacks a key, or names a sweep, row or column that is not there.
    """
    try:
        listed = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))["claim"]
    except (OSError, ValueError, KeyError) as error:
        raise FedPromptError(f"cannot read the claims {path}: {error}; expected a TOML file with [[claim]]") from error
    named, made, rows = {sweep.path.stem: sweep for sweep in sweeps}, {}, []
    for claim in listed:
        if absent := [key for key in KEYS if key not in claim]:
            raise FedPromptError(f"{path}: a claim has no {absent[0]}; give {', '.join(KEYS)}")
        check_choice("verdict", claim["verdict"], VERDICTS)
        ours = []
        for measure in claim["measure"]:
            if "count" in measure:
                ours.append(_count(measure))
                continue
            name = check_choice("sweep", measure["sweep"], named)
            if "correlation" in measure:
                ours.append(_correlation(measure, gains_table([named[name]], records)))
                continue
            if name not in made:
                made[name] = table(named[name], records)
            ours.append(_figure(made[name], measure))
        rows.append({key: claim[key] for key in ("claim", "paper")} | {"ours": "; ".join(ours) or "not measured"})
        rows[-1] |= {key: claim[key] for key in ("verdict", "reason")}
    return pd.DataFrame(rows)


def _figure(content: pd.DataFrame, measure: dict) -> str:
    """Write one measurement: its name, the figure in its unit, and the half interval if there is one."""
    rows = content[content["label"] == check_choice("row", measure["row"], set(content["label"]))]
    for field, value in measure.get("at", {}).items():
        rows = rows[rows[check_choice("grid field", field, content.columns)] == value]
    if len(rows) != 1:
        raise FedPromptError(
            f"the measure {measure['what']!r} fits {len(rows)} rows of the table; give `at` a point of the grid that "
            "has a record"
        )
    [(_, row)] = rows.iterrows()
    column = check_choice("column", measure["column"], content.columns)
    interval = {"accuracy": "interval", "gain": "gain_interval"}.get(column)
    return _written(measure, row[column], row[interval] if interval else None)


def _written(measure: dict, value: float, half: float | None = None) -> str:
    scale, digits = measure.get("scale", 1), measure.get("digits", 1)
    text = f"{measure['what']}: {value * scale:,.{digits}f}"
    if half is not None and not pd.isna(half):
        text += f" ± {half * scale:.{digits}f}"
    return f"{text} {measure.get('unit', '')}".strip()


def _correlation(measure: dict, gains: pd.DataFrame) -> str:
    found = correlations(gains).set_index("quantity")
    row = found.loc[check_choice("quantity of the gains", measure["correlation"], found.index)]
    return f"{measure['what']}: {row['correlation']:.2f} (95% interval {row['low']:.2f} to {row['high']:.2f})"


def _count(measure: dict) -> str:
    from fedprompt_helpers.model.counting import count_without_weights  # PyTorch: only where it is needed

    given = {key: value for key, value in measure.items() if key not in ("what", "count", "scale", "digits", "unit")}
    counted = count_without_weights(**given)
    return _written({"digits": 0} | measure, counted[check_choice("count", measure["count"], counted)])
