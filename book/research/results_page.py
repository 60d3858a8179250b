"""The page of all results: for each sweep what was asked and run, its figure and its table; the claims on top."""

from pathlib import Path

import pandas as pd

from fedprompt_helpers.config import DEFAULTS
from fedprompt_helpers.files import write_text

from .results import table
from .store import Store
from .sweeps import Sweep, grid_fields, missing

HEAD = """# All results

<!-- Made by `python -m book.research tables` from the run records. Do not edit: the next call writes it anew. -->

Every number here comes from a run record in `book/results/records.jsonl`; the sweep files under `book/results/sweeps`
say what was run. Below each figure stand links to its table, its sweep file and its records. Accuracy and macro-F1 are
means over the languages, on whole test splits. Behind ± stands half the 95% {term}`confidence interval` over seeds,
from Student's t. *Gain* is the difference in accuracy to the row named as baseline, in pairs of equal seeds.
[Chapter 8](../notebooks/08_results) explains all of them, and says what few seeds cannot show. Where there is one seed
there is no interval. MB sent is all that clients and server send in all rounds.
"""
FIRST = (
    "federation_gain_masakhanews",
    "federation_gain_intents",
    "data_size",
    "partitions_masakhanews",
    "every_method",
)
"""Sweeps that come first on the page, in this order; the others follow by name."""
COLUMNS = {"accuracy": "interval", "macro_f1": None, "gain": "gain_interval"}
COSTS = {"megabytes": "MB sent", "rounds_to_target": "rounds to target", "megabytes_to_target": "MB to target"}


def write_page(
    path: str | Path, sweeps: list[Sweep], records: Store | str | Path, claims: pd.DataFrame | None = None
) -> Path:
    """Write the page of all results, in Markdown.

    Parameters
    ----------
    path : path
        The file. Figures are looked for in ``results/figures`` beside it.
    sweeps : list of Sweep
        The sweeps to show, each with at least one record.
    records : path
        The file of run records.
    claims : pandas.DataFrame, optional
        From ``claims.claims_table``.

    Returns
    -------
    pathlib.Path
        The file.
    """
    parts = [HEAD]
    if claims is not None:
        columns = {"claim": "Claim", "paper": "The paper reports", "ours": "Measured here", "verdict": "Verdict"}
        parts.append("## The paper's claims beside ours\n\nThe reasons for the verdicts follow below the table.\n")
        parts.append(_markdown(claims[list(columns)].rename(columns=columns)))
        parts += [f"- **{row.claim}** {row.verdict.capitalize()}. {row.reason}\n" for row in claims.itertuples()]
    names = [*FIRST, *sorted(sweep.path.stem for sweep in sweeps)]
    parts += [_section(sweep, records) for sweep in sorted(sweeps, key=lambda sweep: names.index(sweep.path.stem))]
    write_text(Path(path), "\n".join(parts))
    return Path(path)


def _section(sweep: Sweep, records: Store | str | Path) -> str:
    content, left = table(sweep, records), missing(sweep, records)
    grid = [name for name in grid_fields(sweep) if name in content][:1]  # the others go along with the first
    named = content[["label", *grid]].rename(columns={"label": "setting"} | {x: x.replace("_", " ") for x in grid})
    named = named.astype(object).map(_plain)
    majority = content.iloc[0].dropna()  # the majority class has its label, its mean, and one share a language
    languages = [name for name in majority.index if name not in ("label", "accuracy")]
    of_languages = pd.concat([named, content[languages].map(lambda x: _number(x, 3))], axis=1)
    task = sweep.common.get("task", DEFAULTS["task"])
    about = (
        f"Task `{task}`, languages {', '.join(f'`{name}`' for name in languages)}; "
        f"sweep `{sweep.path.name}`. Baseline of the gains: {sweep.baseline}."
    )
    if sweep.target:
        about += f" Target: a mean dev accuracy of {sweep.target:g}."
    if left:
        about += f" Runs of this sweep still without a record: {left}."
    figure = [
        f"```{{figure}} results/figures/{sweep.path.stem}.png",
        ":alt: Test accuracy of each setting of the table below, with its 95% interval.",
        "",
        "Mean test accuracy over languages and seeds. Bars are 95% intervals over seeds, dotted is the majority class.",
        "```",
        "",
        f"```{{results-files}} {sweep.path.parent.name}/{sweep.path.stem}",
        "```",
    ]
    dropdown = ["```{dropdown} Accuracy language by language", "", _markdown(of_languages), "```", ""]
    numbers = pd.concat([named, _numbers(content)], axis=1)
    return "\n".join([f"## {sweep.question}", "", about, "", *figure, "", _markdown(numbers), *dropdown])


def _numbers(content: pd.DataFrame) -> pd.DataFrame:
    """Write the numbers of a results table for reading."""
    made = {}
    for name, half in COLUMNS.items():
        if name in content and content[name].notna().any():
            halves = content[half] if half else [None] * len(content)
            cells = [_number(x, 3, h) for x, h in zip(content[name], halves, strict=True)]
            made[name.replace("macro_f1", "macro-F1")] = cells
    made |= {title: content[name].map(lambda x: _number(x, 0)) for name, title in COSTS.items() if name in content}
    made |= {"chosen on dev": content["chosen"].map(_plain), "seeds": content["seeds"].map(_plain)}
    shown = pd.DataFrame(made, index=content.index)
    return shown.loc[:, (shown != "").any()]


def _plain(value) -> str:
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _number(value, digits: int, half=None) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:,.{digits}f}"
    return text if half is None or pd.isna(half) else f"{text} ± {half:.{digits}f}"


def _markdown(content: pd.DataFrame) -> str:
    """Write a table in Markdown's pipes."""
    rows = [list(content.columns), ["---"] * len(content.columns), *content.to_numpy(dtype=str).tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"
