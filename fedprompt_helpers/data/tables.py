"""Tables in any usual form: what separates their fields, which column is what, and their cells, one row at a time."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import nullcontext, suppress
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
Cells = Iterator[tuple[str, Place, str | None, dict[str, str]]]  # table, place, split, and cells by the names here
Rows = Iterator[tuple[str, Place, str | None, dict[str, Any]]]  # the same by the names in the file


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
    return (known | given).get(re.sub(r"[-_.]\d+-of-\d+$", "", name.strip()).casefold())


def is_table(path: Path) -> bool:
    """Whether a path is a file of rows."""
    return path.is_file() and path.suffix.lower() in (*DELIMITED, *LINES)


def is_saved(path: Path) -> bool:
    """Whether a path is a folder that ``datasets`` saved."""
    return path.is_dir() and any((path / name).is_file() for name in SAVED)


def has(path: Path, asked: Asked, *ours: str) -> bool:
    """Whether the head of a table has columns that may be what is called so here; what cannot be read has none."""
    with suppress(FedPromptError, OSError, ValueError), nullcontext(()) if path.is_dir() else path.open("rb") as lines:
        # A list of JSON has no head, nor has what datasets saved.
        head = next(filter(bytes.strip, lines), b"[").decode("utf-8-sig")
        names = _opened(path, path.name, asked, [], None if head.lstrip()[0] == "[" else head)[0]
        return all(_fitting(each, names, asked) for each in ours)
    return False


def _fitting(ours: str, names: list[str], asked: Asked) -> list[str]:
    """Name the columns that may be what is called so here, the likeliest first."""
    if ours in asked.columns:
        return [name for name in names if name == asked.columns[ours] != ""]
    names = [name for name in names if name not in asked.columns.values()]
    plain = {name: tidy(name).casefold().replace(" ", "_").replace("-", "_") for name in names}
    return [name for name in names if name == ours] + [n for each in COLUMNS[ours] for n in names if plain[n] == each]


def tidy(text: str) -> str:
    """Return a label as it is compared: NFC, single spaces, without marks that nobody sees."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return " ".join("".join(c for i, c in enumerate(text) if _seen(text, i)).split())


def _seen(text: str, i: int) -> bool:
    """Whether a character shows: not formats and controls, but joiners inside a word and the tags of a flag do."""
    if text[i] in "\u200c\u200d":
        around = text[i - 1 : i] + text[i + 1 : i + 2]
        return len(around) == 2 and all(c > "\u02ff" and unicodedata.category(c)[0] in "LMS" for c in around)
    return "\U000e0020" <= text[i] <= "\U000e007f" or unicodedata.category(text[i]) not in ("Cf", "Cc")


def cells_of(path: Path, where: str, asked: Asked, remarks: list[str]) -> Cells:
    """Yield the cells of a table as they stand, by the names here, and where; of its parts also the split."""
    names, place, given = _opened(path, where, asked, remarks)
    known = roles(where, place, names, asked, remarks)
    for inside, place, split, raw in given:
        if missing := [theirs for theirs in known.values() if raw.get(theirs) is None]:
            found = ", ".join(repr(name) for name, value in raw.items() if value is not None)
            raise fault(inside, place, f"no {missing[0]!r}; found {found}; give it, or leave the row out")
        yield inside, place, split, {ours: _plain(inside, place, x, raw[x]) for ours, x in known.items()}


def _opened(
    path: Path, where: str, asked: Asked, remarks: list[str], text: str | None = None
) -> tuple[list[str], Place, Rows]:
    """Return the names of a table's columns, where they stand, and its rows, with the split of the part they are in."""
    try:
        if is_saved(path):
            return _from_disk(path, where, asked, remarks)
        text = decode(where, path.read_bytes(), True) if text is None else text
    except OSError as error:
        raise FedPromptError(f"{where} cannot be read: {error.strerror}; look who may read {path}") from error
    if not text.strip():
        raise FedPromptError(f"{where}: the file is empty; expected names of columns and rows, at least one example")
    if path.suffix.lower() in LINES:
        objects = list(_objects(where, text))
        for number, given in objects:
            if not isinstance(given, dict):
                found = f"found {str(given)[:40]!r}"
                raise fault(where, (number, number), f"no object; {found}; expected one a line, with names and values")
        names = list(dict.fromkeys(name for _, given in objects for name in given))
        return names, (1, 1), ((where, (number, number), None, given) for number, given in objects)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    mark, quoted = dialect(path, text, asked.quotes, remarks)
    given = records(where, text, quoted, mark)
    place, names = next(given)
    names = [name.strip() for name in names]

    def rows() -> Rows:
        for at, cells in given:
            check_count(where, at, names, cells, DELIMITERS[mark])
            yield where, at, None, dict(zip(names, cells, strict=True))

    return names, place, rows()


def dialect(path: Path, text: str, quotes: str, remarks: list[str]) -> tuple[str, bool]:
    """Tell what separates the fields of a file, and whether quotation marks around a field are part of it.

    If every line has as many separators as the header, quotation marks are taken as they are, unless reading them as
    quotes gives the same number of rows or, in a file of commas, rows of one length.
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
    with suppress(FedPromptError):
        sizes = [len(cells) for _, cells in records("", text, True, mark)]
        if len(sizes) == len(lines) or (usual == "," and set(sizes) == set(sizes[:1])):
            return mark, True
    number = sum('"' in line for line in lines)
    remarks.append(f"quotation marks in {number} lines are taken as they are; --quotes always reads them as quotes")
    return mark, False


def roles(where: str, place: Place, names: list[str], asked: Asked, remarks: list[str]) -> dict[str, str]:
    """Tell which column is what: as asked, else by common names; say what is read under another name, or not at all."""
    found: dict[str, str] = {}
    for ours in sorted(COLUMNS, key=lambda ours: ours not in asked.columns):
        if theirs := asked.columns.get(ours):
            check_choice(f"column in {where}", theirs, names)
        if fitting := [name for name in _fitting(ours, names, asked) if name not in found.values()]:
            found[ours] = fitting[0]
    listed = ", ".join(repr(name[:40]) for name in names[:20]) or "nothing"
    for ours in ("text", "label"):
        if ours not in found:
            missing = ",".join(f"{each}=NAME" for each in ("text", "label") if each not in found)
            raise fault(where, place, f"no column {ours!r}; found {listed}; name yours by --columns {missing}")
    for ours, theirs in found.items():
        if names.count(theirs) > 1:
            raise fault(where, place, f"two columns {theirs!r}; found {listed}; name each column once")
        if theirs != ours and ours not in asked.columns:
            remarks.append(f"column {theirs!r} is read as {ours}")
    if unused := [name for name in names if name not in found.values()]:
        remarks.append(f"not used: {', '.join(repr(name) if name else 'a column without a name' for name in unused)}")
    return {ours: found[ours] for ours in COLUMNS if ours in found}


def _objects(where: str, text: str) -> Iterator[tuple[int, Any]]:
    """Yield what stands on each line, or the parts of one list, as pandas writes it; numbered from 1."""
    lines = [(1, text)] if re.match(r"\s*\[\s*{", text) else enumerate(text.split("\n"), 1)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            given = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            what = f"no JSON ({error}); found {line[:40]!r}; expected one object a line"
            raise fault(where, (number, number), what) from error
        yield from enumerate(given, 1) if line is text and isinstance(given, list) else [(number, given)]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, each of whose names must stand there once."""
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a name stands there twice")
    return made


def _plain(where: str, place: Place, name: str, value: Any) -> str:
    """Return a value as text; a list, an object, no finite number, and what is no Unicode text are refused."""
    number = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, str | int | float) or not number:
        kind = f"a {type(value).__name__}" if number else "no number"
        raise fault(where, place, f"{name!r} is {kind}, {str(value)[:40]!r}; expected a text or a label")
    if re.search("[\ud800-\udfff]", str(value)):
        raise fault(where, place, f"{name!r} has half a character, {str(value)[:40]!a}; save it as UTF-8")
    return str(value)


def _from_disk(path: Path, where: str, asked: Asked, remarks: list[str]) -> tuple[list[str], Place, Rows]:
    from datasets import ClassLabel, Dataset, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except Exception as error:  # of many kinds: a file that is missing, or of another version
        raise FedPromptError(f"{where} cannot be read ({error}); expected what datasets' save_to_disk wrote") from error
    parts = {"": saved} if isinstance(saved, Dataset) else {str(name): part for name, part in saved.items()}
    splits = {name: split_of(name, asked) for name in parts}
    remarks += [f"not read: the split {name!r}" for name, split in splits.items() if name and not split]
    parts = {name: part for name, part in parts.items() if not name or splits[name]}

    def rows() -> Rows:
        for name, part in parts.items():
            inside = f"{where} {name}".strip()
            try:
                columns = {column: part[column][:] for column in part.column_names}
            except ValueError as error:
                raise FedPromptError(f"{inside} has a text that is not UTF-8 ({error}); save it anew") from error
            for column, feature in part.features.items():
                if isinstance(feature, ClassLabel):  # a row without label has no number, or -1
                    columns[column] = [feature.names[x] if x is not None and x >= 0 else None for x in columns[column]]
            for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
                yield inside, (number, number), splits[name], dict(zip(columns, cells, strict=True))

    return list(dict.fromkeys(name for part in parts.values() for name in part.column_names)), (1, 1), rows()
