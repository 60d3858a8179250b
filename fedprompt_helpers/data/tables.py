"""Tables as examples: which column is what, and cells that are text, by the names here."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..checks import COLUMNS as CALLED
from ..checks import SPLITS, named
from ..config import Data
from ..errors import FedPromptError, check_choice
from .corpora import corpus_of
from .kinds import parts, reader
from .readers import Row, opened

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
REWRITTEN = "labels have marks that nobody sees, or letters composed in another way, and are read without, in NFC"
Columns = dict[str, list[str]]  # "text" and "label" (a label's name), optionally "text_pair"


class Asked(NamedTuple):
    """What is known of tables, where common names do not do."""

    columns: dict[str, str]  # name here: name in the files, or "" for what is not read
    splits: dict[str, str]
    quotes: str = "auto"  # or "always", "never"
    header: tuple[str, ...] = ()  # the names of columns, where the first row is an example
    may_be_empty: tuple[str, ...] = ()
    kind: str = "text"
    strict: bool = True


class Table(NamedTuple):
    """The columns of one split, and where each row stands in its file."""

    where: str  # language and file, for messages
    columns: Columns
    places: list[str]

    def add(self, row: Row) -> None:
        """Add a row."""
        for name, value in row.cells.items():
            self.columns.setdefault(name, []).append(value)
        self.places.append(row.place)

    def check_labels(self, labels: Sequence[str], kind: str = "text") -> None:
        """Raise FedPromptError at the first label that is not one of `labels`."""
        known = set(labels)
        for place, row in zip(self.places, self.columns["label"], strict=True):
            for label in [label for label in parts(kind, row) if label not in known]:
                what = f"unknown label {label!r}; expected one of {', '.join(labels)}"
                raise FedPromptError(f"{self.where}, {place}: {what}")


def asked_of(data: Data) -> Asked:
    """Read what a configuration says of own data."""
    columns, splits = named("columns", data.columns, CALLED), named("split_names", data.split_names, SPLITS)
    return Asked(columns, splits, data.quotes, kind=corpus_of(data.task).kind)


def take(columns: Columns, rows: Sequence[int]) -> Columns:
    """Return the rows of those numbers, in that order."""
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def text_keys(columns: Columns, names: Sequence[str] = ("text", "text_pair")) -> list[tuple[str, ...]]:
    """Return for each row the form of its text, or of its two, in which it counts as the same as another."""
    return [tuple(map(fold, row)) for row in zip(*(columns[x] for x in names if x in columns), strict=True)]


def fold(text: str) -> str:
    """Return the form in which two texts count as the same: NFC, caseless, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def split_of(name: str, asked: Asked) -> str | None:
    """Return the split that a name means, or None."""
    known = {each: split for split, names in SPLIT_NAMES.items() for each in names if split not in asked.splits}
    known |= {theirs.casefold(): ours for ours, theirs in asked.splits.items()}
    return known.get(re.sub(r"[-_.]\d+-of-\d+$", "", name.strip()).casefold())


def has(path: Path, asked: Asked, *ours: str) -> bool:
    """Whether a table has columns that may be what is called so here; of a file's rows none is read, but of a list."""
    if asked.kind != "text":
        return False
    with suppress(FedPromptError, OSError, ValueError, StopIteration), ExitStack() as stack:
        lines = stack.enter_context(path.open("rb")) if path.is_file() else [b"["]
        head = next(filter(bytes.strip, lines)).decode("utf-8-sig")
        text = None if head.lstrip().startswith("[") else head
        return {*ours} <= _known([*opened(path, path.name, asked.quotes, (), [], text)[0].cells], asked).keys()
    return False


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


def rows(path: Path, where: str, asked: Asked, remarks: list[str]) -> Iterator[Row]:
    """Read a table row by row, its columns named as here; add to `remarks` what was taken for what.

    Raises
    ------
    FedPromptError
        Naming `where`, row and line, what was found and what was expected.
    """
    read = reader(asked.kind, strict=asked.strict)
    head, given = opened(path, where, asked.quotes, asked.header, remarks, read=read)
    known, rewritten, unread, row = _roles(head, asked, remarks), {}, {}, None
    for row in given:
        if row.part and not split_of(row.part, asked):
            unread[f"not read: the split {row.part!r}"] = None
            continue
        cells = {ours: _cell(row, ours, row.cells.get(theirs), asked) for ours, theirs in known.items()}
        if cells["label"] != (plain := " ".join(str(row.cells[known["label"]]).split())):
            rewritten[plain] = cells["label"]
        yield row._replace(cells=cells)
    if not row:
        raise FedPromptError(f"{where}: the table has no rows; expected at least one example")
    remarks += unread
    if rewritten:
        listed = ", ".join(f"{old!a} as {new!r}" for old, new in sorted(rewritten.items())[:3])
        remarks.append(f"{REWRITTEN}: {listed}{', ...' * (len(rewritten) > 3)}")


def _cell(row: Row, ours: str, value: Any, asked: Asked) -> str:
    """Return a cell as text without spaces around, a label, language or split also without marks that nobody sees."""
    text = "" if value is None or value != value else str(value)
    if not isinstance(value, str | int | float | None):
        raise row.fault(f"the {ours} is {text[:40]!r}, a {type(value).__name__}; expected a text or a number")
    if broken := re.search("[\0\ud800-\udfff]", text):
        mend = "take it out, or save the file as UTF-8 (UTF-16 is full of NUL)"
        raise row.fault(f"the {ours} {text[:40]!a} has {broken[0]!a}, which is no character; {mend}")
    if ours not in asked.may_be_empty and not any(map(str.isalnum, text)) and not tidy(text):
        raise row.fault(f"the {ours} is empty; found {value!a}; expected a {ours}, or leave the row out")
    return tidy(text) if ours in ("label", "language", "split") else text.strip()


def _known(names: list[str], asked: Asked) -> dict[str, str]:
    """Tell which column is what: as asked, else by common names, as they are or in another case."""
    found = {ours: theirs for ours, theirs in asked.columns.items() if theirs and theirs in names}
    plain = {re.sub("[ -]", "_", tidy(name).casefold()): name for name in reversed(names)} | {n: n for n in names}
    for ours in COLUMNS.keys() - asked.columns.keys():
        fitting = [plain[x] for x in COLUMNS[ours] if x in plain and plain[x] not in asked.columns.values()]
        if fitting:
            found[ours] = fitting[0]
    return {ours: found[ours] for ours in COLUMNS | asked.columns if ours in found}


def _roles(head: Row, asked: Asked, remarks: list[str]) -> dict[str, str]:
    """Tell which column is what; say what is read under another name, or not at all."""
    names = list(head.cells)
    for theirs in filter(None, asked.columns.values()):
        check_choice(f"column in {head.table}", theirs, names)
    found = _known(names, asked)
    if missing := [ours for ours in ("text", "label") if ours not in found | asked.columns]:
        listed = ", ".join(repr(name[:40]) for name in names[:20]) or "nothing"
        way = ",".join(f"{ours}=NAME" for ours in missing)
        raise head.fault(f"no column {missing[0]!r}; found {listed}; name yours by --columns {way}")
    for ours, theirs in found.items():
        if head.cells[theirs] > 1:
            raise head.fault(f"two columns {theirs!r}; name each column once")
        if theirs != ours and ours not in asked.columns:
            remarks.append(f"column {theirs!r} is read as {ours}")
    if unused := [repr(name) if name else "a column without a name" for name in names if name not in found.values()]:
        remarks.append(f"not used: {', '.join(unused)}")
    return found
