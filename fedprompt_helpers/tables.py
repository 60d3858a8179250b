"""Tables of texts and labels: read strictly from tab-separated files, dealt into splits, and looked over."""

import csv
import io
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import FedPromptError

SPLITS = ("train", "dev", "test")
Columns = dict[str, list[str]]  # "text" and "label" (a label's name), optionally "text_pair"


class Part(NamedTuple):
    """One language of a task; the rows of a class come in the order to draw them."""

    language: str
    splits: dict[str, Columns]
    notes: tuple[str, ...] = ()


class Loaded(NamedTuple):
    """What a loader hands to ``load_task``. The parts may be made one by one, so that memory holds one."""

    labels: tuple[str, ...]
    parts: Iterable[Part]
    notes: tuple[str, ...]


class Table(NamedTuple):
    """Columns of a file, and where each row stands in it."""

    where: str  # language and file, for messages
    columns: Columns
    places: list[tuple[int, int]]  # row and line, both counted from 1; a quoted field may have several lines

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise FedPromptError at the first label that is not one of `labels`."""
        if unknown := set(self.columns["label"]) - set(labels):
            i = next(i for i, label in enumerate(self.columns["label"]) if label in unknown)
            found = self.columns["label"][i]
            raise _fault(self.where, self.places[i], f"unknown label {found!r}; expected one of {', '.join(labels)}")


def read_table(
    path: Path,
    language: str,
    columns: dict[str, str],
    *,
    optional: Sequence[str] = (),
    may_be_empty: Sequence[str] = (),
    header: bool = True,
    quoted: bool = True,
) -> Table:
    """Read a tab-separated file in UTF-8, and refuse it at the first fault.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    language : str
        Its language, for messages.
    columns : dict of str to str
        Names to give the columns, and their names in the file.
    optional : sequence of str
        Columns to read if the file has them.
    may_be_empty : sequence of str
        Columns, by the names given, whose cells may be empty.
    header : bool
        Whether the first row names the columns, in any order. Without a header they are `columns`, in order.
    quoted : bool
        Whether a field may stand in double quotes, with tabs and line breaks inside and its own quotes written
        twice, as Python's ``excel-tab`` dialect and pandas write them. Else a quote is a letter like any other.

    Returns
    -------
    Table
        With the white space around cells removed.

    Raises
    ------
    FedPromptError
        Naming language, file, row, column and what was found, if the file is not UTF-8, a column is missing or
        named twice, a row has too many or too few fields, a cell is empty, a quote is left open, or there is no row.
    """
    csv.field_size_limit(2**31 - 1)  # the default, 131,072 characters, is shorter than some articles
    where = f"{language}, {path.name}"
    records = _records(where, _decode(where, path.read_bytes(), quoted), quoted)
    names = list(columns.values())
    if header:
        place, cells = next(records, ((1, 1), []))
        names = [name.strip() for name in cells]
        wanted = " and ".join(repr(name) for name in columns.values())
        for name in columns.values():
            if names.count(name) != 1:
                times = "no column" if name not in names else "two columns"
                found = ", ".join(repr(name[:40]) for name in names) or "nothing"
                raise _fault(
                    where, place, f"{times} {name!r}; expected a header that names {wanted} once each, "
                    f"separated by tabs; found {found}",
                )  # fmt: skip
    wanted = columns | {name: name for name in optional if name in names}
    at = {name: names.index(column) for name, column in wanted.items()}
    table = Table(where, {name: [] for name in wanted}, [])
    for place, cells in records:
        if len(cells) != len(names):
            extra = len(cells) > len(names)
            problem = f"a field after column {names[-1]!r}" if extra else f"no column {names[len(cells)]!r}"
            found = cells[len(names)] if extra else cells[-1]
            raise _fault(
                where, place, f"{problem}; expected {len(names)} fields separated by tabs, found {len(cells)}, "
                f"{'the first too many' if extra else 'the last'} being {found[:40]!r}",
            )  # fmt: skip
        for name, index in at.items():
            cell = cells[index].strip()
            if not cell and name not in may_be_empty:
                what = "label" if name == "label" else "text"
                raise _fault(where, place, f"column {wanted[name]!r} is empty; expected a {what}, or leave the row out")
            if "\0" in cell:
                raise _fault(
                    where, place, f"column {wanted[name]!r} has a NUL character, found {cell[:40]!r}; take it out, or "
                    "save the file as UTF-8 (UTF-16 is full of them)",
                )  # fmt: skip
            table.columns[name].append(cell)
        table.places.append(place)
    if not table.places:
        raise FedPromptError(f"{where}: the file has no rows; expected at least one example")
    return table


def _fault(where: str, place: tuple[int, int], problem: str) -> FedPromptError:
    row, line = place
    return FedPromptError(f"{where}, row {row}{f' (line {line})' if line != row else ''}: {problem}")


def _decode(where: str, content: bytes, quoted: bool) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        lines = _lines(before + "?")  # something stands for the fault
        row = sum(1 for _ in csv.reader(lines, dialect="excel-tab")) if quoted else len(lines)
        column = lines[-1].count("\t") + 1
        raise _fault(
            where, (row, len(lines)), f"column number {column}: byte {content[error.start]:#x} after "
            f"{lines[-1][:-1].split(chr(9))[-1][-40:]!r} is not UTF-8; save the file in UTF-8",
        ) from error  # fmt: skip


def _lines(text: str) -> list[str]:
    """Cut a text at all three kinds of line end, as the csv module counts lines."""
    return list(io.StringIO(text, newline=""))


def _records(where: str, text: str, quoted: bool) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """Yield row and line, and the cells, of every row that is not blank."""
    if not quoted:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield (number, number), line.removesuffix("\r").split("\t")
        return
    reader = csv.reader(io.StringIO(text, newline=""), dialect="excel-tab", strict=True)
    place = (1, 1)
    try:
        for cells in reader:
            if cells:
                yield place, cells
            place = (place[0] + 1, reader.line_num + 1)
    except csv.Error as error:
        cells = _lines(text)[place[1] - 1].split("\t")
        number = next((i for i, cell in enumerate(cells) if cell.startswith('"') and not _closes(cell)), 0)
        raise _fault(
            where, place, f"column number {number + 1}: a field begins with a quotation mark that does not close at "
            f"its end ({error}), found {cells[number][:40]!r}; put the whole field in quotes and write the quotes "
            "inside it twice",
        ) from error  # fmt: skip


def _closes(cell: str) -> bool:
    """Whether a cell that begins with a quotation mark is quoted to its end, its own quotes written twice."""
    cell = cell.rstrip("\r\n")
    return len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "")


def fold(text: str) -> str:
    """Return the form in which two texts count as the same: NFC, caseless, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def deal(
    language: str, keys: Sequence[Hashable], labels: Sequence[str], sizes: Sequence[int], rng: random.Random
) -> list[list[int]]:
    """Deal rows to parts with the same mix of labels; rows with the same key stay together.

    The rows of each label, in drawn order, are spread evenly over one line, and the line is cut.

    Parameters
    ----------
    language : str
        For messages.
    keys : sequence
        What must not be in two parts: a text, or the premise that several sentence pairs share.
    labels : sequence of str
        A label a row.
    sizes : sequence of int
        Rows of each part but the last, which takes the rest.
    rng : random.Random
        Draws the order.

    Returns
    -------
    list of list of int
        Row numbers, from 0, of each part.

    Raises
    ------
    FedPromptError
        If a part would be empty.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    strata = defaultdict(list)
    for rows in rng.sample(list(groups.values()), len(groups)):
        strata[tuple(sorted(labels[row] for row in rows))].append(rows)
    line = sorted(
        ((number + 0.5) / len(stratum), mix, rows)
        for mix, stratum in strata.items()
        for number, rows in enumerate(stratum)
    )
    parts: list[list[int]] = [[] for _ in range(len(sizes) + 1)]
    for _, _, rows in line:
        room = (part for part, size in enumerate(sizes) if len(parts[part]) + len(rows) <= size)
        parts[next(room, len(sizes))] += rows
    if not all(parts):
        raise FedPromptError(
            f"{language}: {len(keys)} rows with {len(groups)} different texts are too few to split off what is "
            "missing; write the missing file, or add rows"
        )
    return parts


def remarks(language: str, splits: dict[str, Columns], labels: Sequence[str]) -> list[str]:
    """Say what a user should know about one language: sizes, missing labels, empty and repeated texts."""
    sizes = {split: len(splits[split]["label"]) for split in SPLITS}
    notes = [f"{sizes['train']:,} training, {sizes['dev']:,} dev and {sizes['test']:,} test examples"]
    present = Counter(splits["train"]["label"])
    if len(present) == 1:
        notes.append(f"one class only: every training example is {next(iter(present))!r}")
    elif absent := [label for label in labels if label not in present]:
        notes.append(f"no training example of {', '.join(absent)}")
    texts = {}
    for split in SPLITS:
        columns = [splits[split][name] for name in ("text", "text_pair") if name in splits[split]]
        texts[split] = [tuple(map(fold, row)) for row in zip(*columns, strict=True)]
        if empty := sum(not all(row) for row in texts[split]):
            notes.append(f"{empty:,} {split} texts are empty")
    for one, other in (("dev", "train"), ("test", "train"), ("test", "dev")):
        seen = set(texts[other])
        if repeated := sum(row in seen for row in texts[one]):
            notes.append(f"{repeated:,} of {sizes[one]:,} {one} texts are in {other} too")
    return [f"{language}: {note}" for note in notes]
