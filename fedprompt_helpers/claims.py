"""The paper's claims beside what was measured: claims and the paper's figures from a file, our figures from tables."""

import tomllib
from pathlib import Path

import pandas as pd

from .errors import FedPromptError, check_choice
from .results import table
from .sweeps import Sweep

VERDICTS = ("holds", "holds partly", "does not hold here", "cannot be checked here")
KEYS = ("claim", "paper", "measure", "verdict", "reason")


def claims_table(path: str | Path, sweeps: list[Sweep], results: str | Path) -> pd.DataFrame:
    """Put each claim of the paper beside our measurement and the verdict.

    Parameters
    ----------
    path : path
        TOML file with ``[[claim]]`` tables: ``claim`` and ``paper`` (what the paper reports), ``measure`` (a list of
        ``{sweep, row, columns, scale, unit}``: where our figures stand), ``verdict`` (one of ``VERDICTS``), ``reason``.
    sweeps : list of Sweep
        The sweeps that measures may name.
    results : path
        Folder of the run records.

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
        listed = tomllib.loads(Path(path).read_text(encoding="utf-8"))["claim"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise FedPromptError(f"cannot read the claims {path}: {error}; expected a TOML file with [[claim]]") from error
    named, made, rows = {sweep.path.stem: sweep for sweep in sweeps}, {}, []
    for claim in listed:
        if absent := [key for key in KEYS if key not in claim]:
            raise FedPromptError(f"{path}: a claim has no {absent[0]}; give {', '.join(KEYS)}")
        check_choice("verdict", claim["verdict"], VERDICTS)
        ours = []
        for measure in claim["measure"]:
            name = check_choice("sweep", measure["sweep"], named)
            if name not in made:
                made[name] = table(named[name], results).set_index("label")
            ours.append(_figure(made[name], measure))
        rows.append({key: claim[key] for key in ("claim", "paper")} | {"ours": "; ".join(ours) or "not measured"})
        rows[-1] |= {key: claim[key] for key in ("verdict", "reason")}
    return pd.DataFrame(rows)


def _figure(content: pd.DataFrame, measure: dict) -> str:
    """Write one measurement: its name, the figure in its unit, and the half interval if there is one."""
    row = content.loc[check_choice("row", measure["row"], content.index)]
    column = check_choice("column", measure["column"], content.columns)
    scale, unit = measure.get("scale", 1), measure.get("unit", "")
    text = f"{measure['what']}: {row[column] * scale:.{measure.get('digits', 1)}f}"
    interval = {"accuracy": "interval", "gain": "gain_interval"}.get(column)
    if interval and not pd.isna(row[interval]):
        text += f" ± {row[interval] * scale:.{measure.get('digits', 1)}f}"
    return f"{text} {unit}".strip()
