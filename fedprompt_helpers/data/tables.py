"""Tables in any usual form: what separates their fields, which column is what, and their cells, one row at a time."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..checks import COLUMNS as CALLED
from ..checks import SPLITS, named
from ..config import Data
from ..errors import FedPromptError, check_choice
from .readers import Place, check_count, decode, fault, records

DELIMITED, LINES, SAVED = (".tsv", ".csv", ".txt"), (".jsonl", ".ndjson", ".json"), ("dataset_dict.json", "state.json")
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
# Names of columns and splits that are known without being told, in lower case; the first is the name here.
COLUMNS = {
    "text": ("text", "sentence", "sentence1", "premise", "headline", "tweet", "utterance", "review", "query"),
    "text_pair": ("text_pair", "sentence2", "hypothesis"),
    "label": ("label", "category", "class", "sentiment", "intent", "topic", "target"),
    "language": ("language", "lang", "language_code", "locale"),
    "split": ("split", "subset", "fold"),
}
SPLIT_NAMES = {"train": ("train", "training"), "dev": ("dev", "valid", "validation", "val", "development")}
SPLIT_NAMES["test"] = ("test", "testing")
Cells = Iterator[tuple[str, Place, dict[str, str]]]  # table, place, and cells by the names here


class Asked(NamedTuple):
    """What a user says of the data, where common names do not do."""

    columns: dict[str, str]  # name here: name in the files
    splits: dict[str, str]
    quotes: str = "auto"  # or "always", "never"


def asked_of(data: Data) -> Asked:
    """Read what a configuration says of own data."""
    columns, splits = named("columns", data.columns, CALLED), named("split_names", data.split_names, SPLITS)
    return Asked(columns, splits, data.quotes)


def split_of(name: str, asked: Asked) -> str | None:
    """Return the split that a name means, or None."""
    given = {theirs.casefold(): ours for ours, theirs in asked.splits.items()}
    known = {each: split for split, names in SPLIT_NAMES.items() for each in names if split not in asked.splits}
    return (known | given).get(name.strip().casefold())


def is_table(path: Path) -> bool:
    """Whether a path is a file of rows."""
    return path.is_file() and path.suffix.lower() in (*DELIMITED, *LINES)


def is_saved(path: Path) -> bool:
    """Whether a path is a folder that ``datasets`` saved."""
    return path.is_dir() and any((path / name).is_file() for name in SAVED)


def has_languages(path: Path, asked: Asked) -> bool:
    """Whether a table has a column of languages, by its head alone."""
    if is_saved(path):
        return False  # its columns are looked at when it is read
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        head = next((line for line in lines if line.strip()), "")
    if path.suffix.lower() in LINES:
        names = re.findall(r'"([^"]+)"\s*:', head)
    else:
        names = [name.strip().strip('"') for name in head.rstrip("\n").split(dialect(path, head, "never", [])[0])]
    return bool(_fitting("language", names, asked))


def _fitting(ours: str, names: list[str], asked: Asked) -> list[str]:
    """Name the columns that may be what is called so here, the likeliest first."""
    if ours in asked.columns:
        return [name for name in names if name == asked.columns[ours]]
    plain = {name: tidy(name).casefold().replace(" ", "_").replace("-", "_") for name in names}
    return [name for name in names if name == ours] + [n for each in COLUMNS[ours] for n in names if plain[n] == each]


def tidy(text: str) -> str:
    """Return a label as it is compared: NFC, single spaces, without marks that nobody sees."""
    unseen = ("Cf", "Cc")  # formats, such as zero-width and direction marks, and controls
    shown = (" " if c.isspace() else c for c in unicodedata.normalize("NFC", text))
    return " ".join("".join(c for c in shown if unicodedata.category(c) not in unseen).split())


def cells_of(path: Path, where: str, split: str | None, asked: Asked, remarks: list[str]) -> Cells:
    """Yield the cells of a table as they stand, by the names here, and where."""
    if is_saved(path):
        yield from _from_disk(path, where, split, asked, remarks)
    elif path.suffix.lower() in LINES:
        yield from _from_lines(path, where, asked, remarks)
    else:
        text = decode(where, path.read_bytes(), True).replace("\r\n", "\n").replace("\r", "\n")
        mark, quoted = dialect(path, text, asked.quotes, remarks)
        given = records(where, text, quoted, mark)
        place, names = next(given, ((1, 1), []))
        names = [name.strip() for name in names]
        known = roles(where, place, names, asked, remarks)
        at = {ours: names.index(theirs) for ours, theirs in known.items()}
        for place, cells in given:
            check_count(where, place, names, cells, DELIMITERS[mark])
            yield where, place, {ours: cells[i] for ours, i in at.items()}


def dialect(path: Path, text: str, quotes: str, remarks: list[str]) -> tuple[str, bool]:
    """Tell what separates the fields of a file, and whether quotation marks around a field are part of it.

    If every line has as many separators as the header, quotation marks are taken as they are, unless reading them as
    quotes gives the same number of rows.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    header = lines[0] if lines else ""
    usual = "\t" if path.suffix.lower() == ".tsv" else "," if path.suffix.lower() == ".csv" else ""
    mark = usual if usual and usual in header else max(DELIMITERS, key=header.count)
    if usual and mark != usual and mark in header:
        remarks.append(f"its fields are separated by {DELIMITERS[mark]}")
    if quotes != "auto" or '"' not in text:
        return mark, quotes == "always"
    if any(line.count(mark) != header.count(mark) for line in lines):
        return mark, True
    try:
        if sum(1 for _ in records("", text, True, mark)) == len(lines):
            return mark, True
    except FedPromptError:
        pass
    number = sum('"' in line for line in lines)
    remarks.append(f"quotation marks in {number} lines are taken as they are; --quotes always reads them as quotes")
    return mark, False


def roles(where: str, place: Place, names: list[str], asked: Asked, remarks: list[str]) -> dict[str, str]:
    """Tell which column is what: as asked, else by common names; say what is read under another name, or not at all."""
    given, found = asked.columns, {}
    for ours in COLUMNS:
        if ours in given:
            check_choice(f"column in {where}", given[ours], names)
        if fitting := _fitting(ours, names, asked):
            found[ours] = fitting[0]
    listed = ", ".join(repr(name[:40]) for name in names[:20]) or "nothing"
    for ours in ("text", "label"):
        if ours not in found:
            free = [name for name in names if name and name not in found.values()]
            step = f"name it by --columns, as in {ours}={free[0] if free else 'NAME'}"
            raise fault(where, place, f"no column {ours!r}; found {listed}; {step}")
    for ours, theirs in found.items():
        if names.count(theirs) > 1:
            raise fault(where, place, f"two columns {theirs!r}; found {listed}; name each column once")
        if theirs != ours and ours not in given:
            remarks.append(f"column {theirs!r} is read as {ours}")
    if unused := [name for name in names if name not in found.values()]:
        remarks.append(f"not used: {', '.join(repr(name) if name else 'a column without a name' for name in unused)}")
    return found


def _from_lines(path: Path, where: str, asked: Asked, remarks: list[str]) -> Cells:
    known: dict[str, str] = {}
    for number, given in _objects(where, decode(where, path.read_bytes(), False)):
        place = number, number
        if not isinstance(given, dict):
            found = f"found {str(given)[:40]!r}"
            raise fault(where, place, f"no object; {found}; expected one a line, with names and values")
        known = known or roles(where, place, list(given), asked, remarks)
        if missing := [theirs for theirs in known.values() if given.get(theirs) is None]:
            raise fault(where, place, f"no {missing[0]!r}; found {', '.join(map(repr, given))}")
        yield where, place, {ours: _plain(where, place, theirs, given[theirs]) for ours, theirs in known.items()}


def _objects(where: str, text: str) -> Iterator[tuple[int, Any]]:
    """Yield what stands on each line, or the parts of one list, as pandas writes it; numbered from 1."""
    lines = [(1, text)] if re.match(r"\s*\[\s*{", text) else enumerate(text.split("\n"), 1)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except ValueError as error:
            what = f"no JSON ({error}); found {line[:40]!r}; expected one object a line"
            raise fault(where, (number, number), what) from error
        yield from enumerate(given, 1) if line is text and isinstance(given, list) else [(number, given)]


def _plain(where: str, place: Place, name: str, value: Any) -> str:
    """Return a value as text; a list, an object or no number at all is refused."""
    if not isinstance(value, str | int | float) or value != value:
        kind = "no number" if value != value else f"a {type(value).__name__}"
        raise fault(where, place, f"{name!r} is {kind}, {str(value)[:40]!r}; expected a text or a label")
    return str(value)


def _from_disk(path: Path, where: str, split: str | None, asked: Asked, remarks: list[str]) -> Cells:
    from datasets import ClassLabel, Dataset, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except Exception as error:  # of many kinds: a file that is missing, or of another version
        raise FedPromptError(f"{where} cannot be read ({error}); expected what datasets' save_to_disk wrote") from error
    parts = {"": saved} if isinstance(saved, Dataset) else dict(saved)
    for name, part in parts.items():
        if name and not split and split_of(str(name), asked) is None:
            remarks.append(f"not read: the split {name!r}")
            continue
        inside = f"{where} {name}".strip()
        known = roles(inside, (1, 1), part.column_names, asked, remarks if part is next(iter(parts.values())) else [])
        columns = {}
        for ours, theirs in known.items():
            feature, values = part.features[theirs], part[theirs][:]
            columns[ours] = [feature.int2str(x) for x in values] if isinstance(feature, ClassLabel) else values
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
            place, pairs = (number, number), zip(columns, cells, strict=True)
            given = {ours: "" if cell is None else _plain(inside, place, ours, cell) for ours, cell in pairs}
            yield inside, place, given | ({"split": str(name)} if name and not split else {})
