"""What stands in a table, row by row, by the names in the file: TSV, CSV, JSON Lines, or what ``datasets`` saved."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FedPromptError

csv.field_size_limit(2**31 - 1)  # the default, 131,072 characters, is shorter than some articles
LINES, SAVED = (".jsonl", ".ndjson", ".json"), ("dataset_dict.json", "state.json")
TABLES = (".tsv", ".csv", ".txt", *LINES)
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}


class Row(NamedTuple):
    """One row of a table, its cells by the names of their columns."""

    table: str
    place: str  # its number, and its line if that is another, both counted from 1
    part: str  # of a saved data set, else ""
    cells: dict[Any, Any]

    def fault(self, problem: str) -> FedPromptError:
        """Say what is wrong, and where."""
        return FedPromptError(f"{self.table}, {self.place}: {problem}")


Reader = Callable[[str, str], Iterator[Row]]  # of a file that is no table: its name in messages, and its text


def is_saved(path: Path) -> bool:
    """Whether a path is a folder that ``datasets`` saved."""
    return path.is_dir() and any((path / name).is_file() for name in SAVED)


def is_table(path: Path) -> bool:
    """Whether a path is a file of rows, or what ``datasets`` saved."""
    return is_saved(path) or (path.is_file() and path.suffix.lower() in TABLES)


def opened(
    path: Path,
    where: str,
    quotes: str,
    header: Sequence[str],
    remarks: list[str],
    text: str | None = None,
    read: Reader | None = None,
) -> tuple[Row, Iterator[Row]]:
    """Open a table, called `where` in messages: return its header, whose cells count each name, and its rows.

    `quotes` says whether quotation marks enclose fields: ``"always"``, ``"never"``, or ``"auto"``, as ``dialect``
    finds; what it finds is added to `remarks`. `header` has the names where the first row does not, and `text` the head
    of the file where nothing else is to be read. `read` reads what is no table.
    """
    try:
        if is_saved(path):
            return _from_disk(path, where)
        text = path.read_bytes().decode("utf-8-sig") if text is None else text
    except OSError as error:
        raise FedPromptError(f"{where} cannot be read: {error.strerror}; look who may read {path}") from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, after = len((before + b"?").splitlines()), re.split(rb"[\t\r\n]", before)[-1].decode(errors="replace")
        what = f"byte {error.object[error.start]:#x} after {after[-40:]!r} is not UTF-8; save the file in UTF-8"
        raise FedPromptError(f"{where}, line {line}: {what}") from error
    if not text.strip():
        raise FedPromptError(f"{where}: the file is empty; expected names of columns and rows, at least one example")
    if read or path.suffix.lower() in LINES:
        objects = list((read or _objects)(where, text))
        return Row(where, "row 1", "", {name: 1 for row in objects for name in row.cells}), iter(objects)
    mark, quoted = dialect(path, text, quotes, remarks)
    given = _records(where, text, mark, quoted)
    first = Row(where, "row 1", "", dict(enumerate(header))) if header else next(given, Row(where, "row 1", "", {}))
    names = [name.strip() for name in first.cells.values()]
    return first._replace(cells=Counter(names)), (_named(row, names, DELIMITERS[mark]) for row in given)


def _named(row: Row, names: list[str], marks: str) -> Row:
    """Name the cells of a row, which are as many as the header has."""
    cells = list(row.cells.values())
    if len(cells) != len(names):
        what = f"found {len(cells)} fields separated by {marks}, the last being {cells[-1][:40]!r}"
        raise row.fault(f"{what}; expected {len(names)}, one for each name in the header")
    return row._replace(cells=dict(zip(names, cells, strict=True)))


def dialect(path: Path, text: str, quotes: str, remarks: list[str]) -> tuple[str, bool]:
    """Tell what separates the fields of a file, and whether quotation marks around a field are part of it.

    If every line has as many separators as the header, quotation marks are taken as they are, unless reading them as
    quotes gives the same number of rows or, in a file of commas, rows of one length.
    """
    lines = [line for line in re.split("\r\n|\r|\n", text) if line.strip()]
    usual = {".tsv": "\t", ".csv": ","}.get(path.suffix.lower(), "")
    mark = usual if usual and usual in lines[0] else max(DELIMITERS, key=lines[0].count)
    if usual and mark != usual and mark in lines[0]:
        remarks.append(f"its fields are separated by {DELIMITERS[mark]}")
    if quotes != "auto" or '"' not in text:
        return mark, quotes == "always"
    if any(line.count(mark) != lines[0].count(mark) for line in lines):
        return mark, True
    with suppress(FedPromptError):
        sizes = [len(row.cells) for row in _records("", text, mark, True)]
        if len(sizes) == len(lines) or (usual == "," and set(sizes) == set(sizes[:1])):
            return mark, True
    number = sum('"' in line for line in lines)
    remarks.append(f"quotation marks in {number} lines are taken as they are; --quotes always reads them as quotes")
    return mark, False


def _records(where: str, text: str, mark: str, quoted: bool) -> Iterator[Row]:
    """Yield every row that is not blank, its cells by number; a spreadsheet writes a blank one as ";;;"."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, quoting=quoting, strict=True)
    place = "row 1"
    try:
        for number, cells in enumerate(reader, 2):
            if any(map(str.strip, cells)):
                yield Row(where, place, "", dict(enumerate(cells)))
            line = reader.line_num + 1
            place = f"row {number} (line {line})" if line != number else f"row {number}"
    except csv.Error as error:
        what = f"a field begins with a quotation mark that does not close at its end ({error})"
        raise Row(where, place, "", {}).fault(f"{what}; write the quotes inside it twice") from error


def _objects(where: str, text: str) -> Iterator[Row]:
    """Yield what stands on each line, or the parts of one list, as pandas writes it."""
    listed = text.lstrip().startswith("[")
    for number, line in enumerate([text] if listed else text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = f"no JSON ({error}); found {line[:40]!r}; expected one object a line"
            raise FedPromptError(f"{where}, row {number}: {what}") from error
        for at, cells in enumerate(given, 1) if listed else [(number, given)]:
            row = Row(where, f"row {at}", "", cells)
            if not isinstance(cells, dict):
                raise row.fault(f"no object; found {str(cells)[:40]!r}; expected one a line, with names and values")
            yield row


def _from_disk(path: Path, where: str) -> tuple[Row, Iterator[Row]]:
    """Open what ``datasets`` saved."""
    from datasets import Dataset, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except Exception as error:  # of many kinds: a file that is missing, or of another version
        raise FedPromptError(f"{where} cannot be read ({error}); expected what datasets' save_to_disk wrote") from error
    parts = {"": saved} if isinstance(saved, Dataset) else {str(name): part for name, part in saved.items()}
    names = {name: 1 for part in parts.values() for name in part.column_names}
    return Row(where, "row 1", "", names), chain.from_iterable(_part(where, *part) for part in parts.items())


def _part(where: str, name: str, part: Any) -> Iterator[Row]:
    """Yield the rows of one part of a saved data set."""
    where = f"{where} {name}".strip()
    try:
        columns = {column: values_of(part, column) for column in part.column_names}
    except ValueError as error:
        raise FedPromptError(f"{where} has a text that is not UTF-8 ({error}); save it anew") from error
    for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
        yield Row(where, f"row {number}", name, dict(zip(columns, cells, strict=True)))


def values_of(part: Any, column: str) -> list[Any]:
    """Return a column of a ``datasets.Dataset``, labels by name; a row without one has no number, or -1."""
    names, values = getattr(part.features[column], "names", None), part[column][:]
    return values if names is None else [names[i] if i is not None and i >= 0 else None for i in values]
