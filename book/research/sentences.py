"""Each sentence of the book that concludes from results, the rows it stands on, and whether it holds.

``book/results/sentences.toml`` has a ``[[sentence]]`` for each: the ``file``, what it ``says`` there word for word, and
its ``rows``, a list. Each of these selects rows ``where`` a query of pandas is true, and says what ``holds`` for every
one of them, from

- ``table``: a CSV file under ``book/results``; or
- ``sweep``, ``row`` and ``over``: one setting of a sweep minus another, paired by seed. That has a row a label budget
  and language, and one for the mean of the ``"all"`` languages: ``gain``, ``low`` and ``high`` (the ends of its
  interval), ``half`` of the interval, ``score`` and ``other`` (the two means), ``seeds``, and the language's mean
  ``distance`` to the others. A sweep of the older protocol has the columns of its table, with gains over ``over``.

What ``gives`` computes from the rows, for instance a correlation, counts as a number of them.

Every number of the sentence has to stand in its rows, rounded as it is written there, as it is or in per cent.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ValidationError

from fedprompt_helpers.errors import FedPromptError

from .evidence import BUDGET, interval, scores
from .gains import mean_distance
from .results import table
from .store import open_store
from .sweeps import read_sweep

ALL = "all"
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|[Cc]hapters? \d+|\{\w+\}")  # code, addresses, references
NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w-])")


class Rows(BaseModel, extra="forbid"):
    """Rows that a sentence stands on, and what has to be true of each."""

    table: str = ""
    sweep: str = ""
    row: str = ""
    over: str = ""
    where: str
    holds: str
    gives: str = ""


class Sentence(BaseModel, extra="forbid"):
    """A sentence of a file, word for word but for line breaks."""

    file: str
    says: str
    rows: list[Rows]


def paired(frame: pd.DataFrame, row: str, over: str) -> pd.DataFrame:
    """Subtract one setting from another, seed by seed: a row a label budget and language, and one for their mean."""
    made = []
    for budget, at in frame.groupby(BUDGET):
        if not {row, over} <= set(at["label"]):
            continue
        pairs = at[at["label"].isin([row, over])]
        wide = pairs.pivot(index="seed", columns=["label", "language"], values="accuracy").dropna()
        one, two = (wide[name].assign(**{ALL: wide[name].mean(axis=1)}) for name in (row, over))
        for language in one:
            gain = one[language] - two[language]
            low, high = interval(gain)
            about = {BUDGET: budget, "language": language, "seeds": len(gain), "gain": gain.mean(), "low": low}
            about |= {"high": high, "half": (high - low) / 2}
            made.append(about | {"score": one[language].mean(), "other": two[language].mean()})
    languages = sorted(set(frame["language"]))
    away = {language: mean_distance(language, languages) for language in languages}
    return pd.DataFrame(made).assign(distance=[away.get(row["language"]) for row in made])


def check(listed: Path, root: Path) -> Iterator[tuple[Sentence, list[tuple[Rows, pd.DataFrame]], list[str]]]:
    """Give each sentence with the rows that it stands on, and what is wrong with it, if anything is."""

    @cache
    def of_sweep(name: str) -> pd.DataFrame:
        return scores(read_sweep(results / "evidence" / f"{name}.toml"), store)

    @cache
    def gains(name: str, row: str, over: str) -> pd.DataFrame:
        if (results / "evidence" / f"{name}.toml").exists():
            return paired(of_sweep(name), row, over)
        old = table(read_sweep(results / "sweeps" / f"{name}.toml")._replace(baseline=over), store)
        return old.loc[old["label"] == row]

    @cache
    def stored(name: str) -> pd.DataFrame:
        return pd.read_csv(results / name, low_memory=False)

    @cache
    def text(file: str) -> str:
        return " ".join((root / file).read_text(encoding="utf-8").split())

    results = root / "book/results"
    store = open_store(results / "records.jsonl")
    try:
        found = [Sentence(**each) for each in tomllib.loads(listed.read_text(encoding="utf-8"))["sentence"]]
    except (ValueError, KeyError, ValidationError) as error:
        raise FedPromptError(f"cannot read {listed}: {error}; expected [[sentence]] with file, says, rows") from error
    for sentence in found:
        stands, wrong = [], []
        says = " ".join(sentence.says.split())
        if says not in text(sentence.file):
            wrong.append(f"{sentence.file} does not say this")
        for of in sentence.rows:
            try:
                content = stored(of.table) if of.table else gains(of.sweep, of.row, of.over)
                rows = content.query(of.where).dropna(axis="columns", how="all")
                held = bool(len(rows)) and bool(pd.Series(rows.eval(of.holds)).all())
                if of.gives:
                    rows = rows.assign(gives=rows.eval(of.gives))
            except Exception as error:  # whatever pandas makes of a query
                raise FedPromptError(f"{listed}: {says!r}: {of.where!r}, {of.holds!r}: {error}") from error
            stands.append((of, rows))
            if not held:
                wrong.append(f"not true: {of.holds}" if len(rows) else f"no row has {of.where}")
        known = [value for _, rows in stands for value in numbers(rows)]
        written = NUMBER.findall(SKIPPED.sub(" ", says))
        unknown = [number for number in written if not any(_same(number, value) for value in known)]
        wrong += [f"{number} is in none of its rows" for number in unknown]
        yield sentence, stands, wrong


def numbers(rows: pd.DataFrame) -> list[float]:
    """Collect the numbers of some rows, those within texts too."""
    cells = [cell for cell in rows.to_numpy().ravel() if not pd.isna(cell)]
    texts = [each for cell in cells for each in (NUMBER.findall(cell) if isinstance(cell, str) else [str(cell)])]
    return [abs(float(each.replace(",", ""))) for each in texts if each not in ("True", "False")]


def _same(written: str, value: float) -> bool:
    digits = len(written.partition(".")[2])
    off = min(abs(float(written.replace(",", "")) - scaled) for scaled in (value, 100 * value))
    return off <= 0.5 * 10**-digits + 1e-9


def lines(found: tuple[Sentence, list[tuple[Rows, pd.DataFrame]], list[str]]) -> str:
    """Write one sentence, its rows and its verdict for a terminal."""
    sentence, stands, wrong = found
    said = [f"{sentence.file}: {' '.join(sentence.says.split())}"]
    for of, rows in stands:
        what = of.table or f"{of.sweep}: {of.row} − {of.over}"
        said.append(f"  {what} | {of.where} | {of.holds}")
        named = [name for name in rows if re.search(rf"\b{name}\b", f"{of.where} {of.holds} gives")]
        for _, row in rows.round(4).iterrows():
            said.append("    " + ", ".join(f"{name} {row[name]}" for name in named))
    return "\n".join([*said, "  " + ("does not hold: " + "; ".join(wrong) if wrong else "holds")])
