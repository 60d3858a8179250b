"""Tables of texts and labels: read strictly from tab-separated files, and looked over."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import FedPromptError
from .corpora import SPLITS, Corpus

csv.field_size_limit(2**31 - 1)  # the default, 131,072 characters, is shorter than some articles
Columns = dict[str, list[str]]  # "text" and "label" (a label's name), optionally "text_pair"
Place = tuple[int, int]  # row and line, both counted from 1; a quoted field may have several lines


class Table(NamedTuple):
    """Columns of a file, and where each row stands in it."""

    where: str  # language and file, for messages
    columns: Columns
    places: list[Place]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise FedPromptError at the first label that is not one of `labels`."""
        if unknown := set(self.columns["label"]) - set(labels):
            i = next(i for i, label in enumerate(self.columns["label"]) if label in unknown)
            found = self.columns["label"][i]
            raise fault(self.where, self.places[i], f"unknown label {found!r}; expected one of {', '.join(labels)}")


def read_table(path: Path, language: str, corpus: Corpus) -> Table:
    """Read a tab-separated file in UTF-8, white space around cells removed, and refuse it at the first fault."""
    where, quoted = f"{language}, {path.name}", corpus.quoted
    columns = {name: column.format(language=language) for name, column in corpus.columns.items()}
    may_be_empty = [name for name in columns if corpus.fields and name != "label"]
    given = records(where, decode(where, path.read_bytes(), quoted), quoted)
    names = list(columns.values())
    if corpus.header:
        place, cells = next(given, ((1, 1), []))
        names = [name.strip() for name in cells]
        for name in [name for name in columns.values() if names.count(name) != 1]:
            times, wanted = "two columns" if name in names else "no column", " and ".join(map(repr, columns.values()))
            found = ", ".join(repr(name[:40]) for name in names) or "nothing"
            expected = f"expected a header that names {wanted} once each, separated by tabs; found {found}"
            raise fault(where, place, f"{times} {name!r}; {expected}")
    at = {name: names.index(column) for name, column in columns.items()}
    table = Table(where, {name: [] for name in columns}, [])
    for place, cells in given:
        check_count(where, place, names, cells)
        for name, index in at.items():
            cell = cells[index].strip()
            if not cell and name not in may_be_empty:
                what = "label" if name == "label" else "text"
                raise fault(where, place, f"column {columns[name]!r} is empty; expected a {what}, or leave the row out")
            if "\0" in cell:
                found, mend = cell[:40], "take it out, or save the file as UTF-8 (UTF-16 is full of them)"
                raise fault(where, place, f"column {columns[name]!r} has a NUL character, found {found!r}; {mend}")
            table.columns[name].append(cell)
        table.places.append(place)
    if not table.places:
        raise FedPromptError(f"{where}: the file has no rows; expected at least one example")
    return table


def check_count(where: str, place: Place, names: list[str], cells: list[str], mark: str = "tabs") -> None:
    """Refuse a row that has not one field for each column."""
    if len(cells) == len(names):
        return
    extra = len(cells) > len(names)
    problem = f"a field after column {names[-1]!r}" if extra else f"no column {names[len(cells)]!r}"
    which, found = ("the first too many", cells[len(names)]) if extra else ("the last", cells[-1])
    said = f"expected {len(names)} fields separated by {mark}, found {len(cells)}, {which} being {found[:40]!r}"
    raise fault(where, place, f"{problem}; {said}")


def fault(where: str, place: Place, problem: str) -> FedPromptError:
    """Say what is wrong, and where."""
    row, line = place
    return FedPromptError(f"{where}, row {row}{f' (line {line})' if line != row else ''}: {problem}")


def decode(where: str, content: bytes, quoted: bool) -> str:
    """Read UTF-8, with or without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        content = error.object  # without a byte order mark, as positions are counted
        before = content[: error.start].decode("utf-8", "replace") + "?"  # something stands for the fault
        lines = list(io.StringIO(before, newline=""))  # cut at all three kinds of line end, as csv counts lines
        row = sum(1 for _ in csv.reader(lines, dialect="excel-tab")) if quoted else len(lines)
        column, before = lines[-1].count("\t") + 1, lines[-1][:-1].split("\t")[-1][-40:]
        problem = f"byte {content[error.start]:#x} after {before!r} is not UTF-8; save the file in UTF-8"
        raise fault(where, (row, len(lines)), f"column number {column}: {problem}") from error


def records(where: str, text: str, quoted: bool, mark: str = "\t") -> Iterator[tuple[Place, list[str]]]:
    """Yield row and line, and the cells, of every row that is not blank."""
    if not quoted:
        for number, line in enumerate(text.split("\n"), 1):
            cells = line.removesuffix("\r").split(mark)
            if any(cell.strip() for cell in cells):  # a spreadsheet writes an empty row as ";;;"
                yield (number, number), cells
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    place = (1, 1)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield place, cells
            place = (place[0] + 1, reader.line_num + 1)
    except csv.Error as error:
        cells = list(io.StringIO(text, newline=""))[place[1] - 1].split(mark)
        number = next((i for i, cell in enumerate(cells) if cell.startswith('"') and not _closes(cell)), 0)
        what = f"a field begins with a quotation mark that does not close at its end ({error})"
        way = f"found {cells[number][:40]!r}; put the whole field in quotes and write the quotes inside it twice"
        raise fault(where, place, f"column number {number + 1}: {what}, {way}") from error


def _closes(cell: str) -> bool:
    """Whether a cell that begins with a quotation mark is quoted to its end, its own quotes written twice."""
    cell = cell.rstrip("\r\n")
    return len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "")


def take(columns: Columns, rows: Sequence[int]) -> Columns:
    """Return the rows of those numbers, in that order."""
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def fold(text: str) -> str:
    """Return the form in which two texts count as the same: NFC, caseless, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def text_keys(columns: Columns) -> list[tuple[str, ...]]:
    """Return for each row the form of its text, or of its two, in which it counts as the same as another."""
    texts = [columns[name] for name in ("text", "text_pair") if name in columns]
    return [tuple(map(fold, row)) for row in zip(*texts, strict=True)]


def remarks(language: str, splits: dict[str, Columns], labels: Sequence[str]) -> list[str]:
    """Say what a user should know about one language: sizes, missing labels, empty and repeated texts."""
    sizes = {split: len(splits[split]["label"]) for split in SPLITS}
    notes = [f"{sizes['train']:,} training, {sizes['dev']:,} dev and {sizes['test']:,} test examples"]
    present = Counter(splits["train"]["label"])
    if len(present) == 1:
        notes.append(f"one class only: every training example is {next(iter(present))!r}")
    elif absent := [label for label in labels if label not in present]:
        notes.append(f"no training example of {', '.join(absent)}")
    texts = {split: text_keys(splits[split]) for split in SPLITS}
    for split in SPLITS:
        if empty := sum(not all(row) for row in texts[split]):
            notes.append(f"{empty:,} {split} texts are empty")
    for one, other in (("dev", "train"), ("test", "train"), ("test", "dev")):
        seen = set(texts[other])
        if repeated := sum(row in seen for row in texts[one]):
            notes.append(f"{repeated:,} of {sizes[one]:,} {one} texts are in {other} too")
    return [f"{language}: {note}" for note in notes]
