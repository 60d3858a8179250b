"""Your own data: tables in any usual form, found and read; what is odd about them is said, not passed over (chapter 1).

A folder has one folder or one file a language, or files or one table with a column of languages; a table is TSV, CSV,
JSON Lines, or what ``datasets`` saved to disk.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import FedPromptError
from .corpora import SPLITS
from .readers import Place, Table, fault, fold
from .tables import Asked, cells_of, has, is_saved, is_table, split_of, tidy

KNOWN = ".tsv, .csv, .txt, .jsonl, .json, or what datasets saved"
REWRITTEN = "labels have marks that nobody sees, or letters composed in another way, and are read without, in NFC"


class Source(NamedTuple):
    """A table on disk, and the language and the split that its place says it is of, if it says so."""

    path: Path
    language: str | None
    split: str | None


class Row(NamedTuple):
    """One example as it stands in a table."""

    table: str
    place: Place
    cells: dict[str, str]  # by the names here


def sources(root: Path, asked: Asked) -> tuple[list[Source], list[str]]:
    """Find the tables under a path, and say which files are not read."""
    root, found, unread = root.resolve(), [], []
    if is_table(root) or is_saved(root):
        return [Source(root, None, None)], []
    if root.is_file():
        raise FedPromptError(f"{str(root)!r} is no table that is known; expected {KNOWN}: save a spreadsheet as CSV")
    for path in _inside(root):
        name = path.name if path.is_dir() else path.stem
        if _is_one(path, asked):
            language, split = _named(name, asked)
            found.append(Source(path, None if has(path, asked, "language") else language, split))
        elif path.is_dir() and not path.name.startswith((".", "_")):
            inside = _inside(path)
            tables = [each for each in inside if _is_one(each, asked)]
            for each in inside:
                split = split_of(each.stem if each.is_file() else each.name, asked)
                if each in tables and (split or len(tables) == 1):
                    found.append(Source(each, name, split))
                else:
                    unread.append(f"{name}/{each.name}")
        else:
            unread.append(path.name)
    more = f" and {len(unread) - 10} more" if len(unread) > 10 else ""
    listed = ", ".join(unread[:10]).encode(errors="backslashreplace").decode()
    said = [f"not read: {listed}{more}"] if unread else []
    if not found:
        names = f"{KNOWN}, such as LANGUAGE/train.tsv, LANGUAGE.csv, or train.jsonl with a column of languages"
        raise FedPromptError(f"no table in {str(root)!r}; expected {names}{'; ' if said else ''}{''.join(said)}")
    return found, said


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FedPromptError(f"{folder} cannot be read: {error.strerror}; look who may read it") from error


def _is_one(path: Path, asked: Asked) -> bool:
    """Whether a path is a table of examples: a hidden file is none, nor a note or settings without their columns."""
    loose = path.suffix.lower() in (".txt", ".json") and not split_of(path.stem, asked)
    return (
        path.name[0] not in "._"
        and (is_saved(path) or is_table(path))
        and (not loose or has(path, asked, "text", "label"))
    )


def _named(name: str, asked: Asked) -> tuple[str | None, str | None]:
    """Tell language and split from a name: train, en, en.train, train_en."""
    if split := split_of(name, asked):
        return None, split
    for pattern, language, split in ((r"(.+)[._-]([^._-]+)", 1, 2), (r"([^._-]+)[._-](.+)", 2, 1)):
        parts = re.fullmatch(pattern, name)
        if parts and (of := split_of(parts[split], asked)):
            return parts[language], of
    return name, None


def read(
    root: Path, asked: Asked, wanted: Iterable[str] | None = None
) -> tuple[dict[str, dict[str, Table]], dict[str, list[str]]]:
    """Read the tables of some languages, or of all: by language and split, and what is to be said by language.

    Raises
    ------
    FedPromptError
        Naming file, row and line, what was found and what was expected.
    """
    found, said = sources(root, asked)
    only = None if wanted is None else set(wanted)
    heard: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # language, remark: files
    files: dict[tuple[str, str], list[str]] = defaultdict(list)
    tables: dict[str, dict[str, Table]] = {}
    for source in found:
        if only is not None and source.language is not None and source.language not in only:
            continue
        remarks, seen, place = [], {}, source.path.relative_to(root.resolve()).as_posix()
        for row in rows(source, asked, remarks):
            told = row.cells.pop("language", None)
            language = source.language or told or root.resolve().stem
            if told and told != language:  # a folder is not opened to learn whose it is
                what = f"its folder says {language!r}, its column {told!r}; move it out of the folder, or"
                raise fault(row.table, row.place, f"{what} leave the column unread: --columns language=")
            split = row.cells.pop("split", "train")
            if language not in seen:
                seen[language] = _check_name(row.table, language)
            if only is not None and language not in only:
                continue
            table = tables.setdefault(language, {}).get(split)
            if table is None:
                table = tables[language][split] = Table(row.table, {name: [] for name in row.cells}, [])
            if table.columns.keys() != row.cells.keys():
                what = f"columns of {' and '.join(row.cells)}, but {table.where} has {' and '.join(table.columns)}"
                raise fault(row.table, row.place, f"{what}; give all files of a split the same, or name them")
            for name, values in table.columns.items():
                values.append(row.cells[name])
            table.places.append(row.place)
            if place not in files[language, split]:
                files[language, split].append(place)
        if len(found) == len(seen) == 1 and not told:
            who = f"no column of languages is known, so all rows are one client, {next(iter(seen))!r}"
            remarks.append(f"{who}; name one by --columns language=NAME")
        for language in seen:
            for remark in remarks:
                heard[language][remark].append(source.path.name)
    notes = {x: [f"{', '.join(dict.fromkeys(of))}: {remark}" for remark, of in heard[x].items()] for x in tables}
    for (language, split), of in files.items():
        if len(of) > 1:
            notes[language].append(
                f"{split} is read from {len(of)} tables: {', '.join(of[:5])}{', ...' * (len(of) > 5)}"
            )
    return tables, {language: [*said, *notes[language]] for language in tables}


def _check_name(where: str, language: str) -> str:
    """Refuse a language that cannot be the name of a folder."""
    if language[0] in ". " or not language.isprintable() or set("/\\:") & set(language):
        raise FedPromptError(f"{where}: the language {language[:40]!a} cannot name a folder; expected a code, as in cy")
    return language


def languages(root: Path, asked: Asked) -> tuple[str, ...]:
    """Name the languages that there are tables of; only a table with a column of languages has to be read for it."""
    names = {source.language for source in sources(root, asked)[0]}
    return tuple(sorted(set(read(root, asked)[0]) if None in names else names))  # type: ignore


def rows(source: Source, asked: Asked, remarks: list[str]) -> Iterator[Row]:
    """Read one table row by row, its columns named as here; say what was taken for what."""
    where = ", ".join(filter(None, (source.language, source.path.name)))
    where = where.encode(errors="backslashreplace").decode()  # a name may be in no encoding
    rewritten, name = {}, ""
    for name, place, part, given in cells_of(source.path, where, asked, remarks):
        cells = {}
        for ours, cell in given.items():
            what = "label" if ours == "label" else "text" if ours.startswith("text") else ours
            if "\0" in cell:
                mend = "take it out, or save the file as UTF-8 (UTF-16 is full of them)"
                raise fault(name, place, f"{what} {cell[:40]!r} has a NUL character; {mend}")
            cells[ours] = cell.strip() if ours.startswith("text") else tidy(cell)
            if ours == "label" and cells[ours] != (plain := " ".join(cell.split())):
                rewritten[plain] = cells[ours]
            if not tidy(cell):
                found = f"found {cell!r}; " * bool(cell.strip())
                raise fault(name, place, f"the {what} is empty; {found}expected a {what}, or leave the row out")
        splits = {split for split in (source.split, part) if split}
        if "split" in cells:
            if (of := split_of(cells["split"], asked)) is None:
                step = (
                    f"name it by --split-names, as in test={cells['split']}, or read no such column: --columns split="
                )
                raise fault(name, place, f"unknown split {cells['split']!r}; {step}")
            splits.add(of)
        if len(splits) > 1:
            said = " and ".join(sorted(splits))
            raise fault(name, place, f"it is of {said}, by file and column; rename one, or give --columns split=")
        yield Row(name, place, cells | {"split": splits.pop() if splits else "train"})
    if not name:
        raise FedPromptError(f"{where}: the table has no rows; expected at least one example")
    if rewritten:
        listed = ", ".join(f"{old!a} as {new!r}" for old, new in sorted(rewritten.items())[:3])
        remarks.append(f"{REWRITTEN}: {listed}{', ...' * (len(rewritten) > 3)}")


def of(
    root: Path, asked: Asked, wanted: Iterable[str], unseen: Iterable[str]
) -> tuple[dict[str, dict[str, Table]], dict[str, list[str]]]:
    """Read the tables of some languages, of the unseen ones the test split alone, and look for repeated texts."""
    tables, notes = read(root, asked, wanted)
    for language in wanted:
        splits = tables.get(language, {})
        if language in unseen and "test" in splits:
            tables[language] = {"test": splits["test"]}
        elif not {"train", "dev"} & set(splits):
            found = f"found {', '.join(splits)} alone" if splits else "no table"
            raise FedPromptError(f"{language}: {found}; expected a split to train on; name it by --split-names")
        notes[language] += filter(None, (contradictions(table) for table in tables[language].values()))
    return {x: {split: tables[x][split] for split in SPLITS if split in tables[x]} for x in wanted}, notes


def odd_labels(labels: Iterable[str]) -> list[str]:
    """Name labels that differ by case, or by the way a number is written, alone."""
    alike = defaultdict(list)
    for label in sorted(set(labels)):
        number = re.fullmatch(r"[+-]?\d+(\.\d*)?", label)
        alike[float(label) if number else label.casefold()].append(label)
    return [
        f"labels {' and '.join(map(repr, group))} are taken for different classes; if they are one, write them alike"
        for group in alike.values()
        if len(group) > 1
    ]


def contradictions(table: Table) -> str:
    """Say which texts of a table stand there more than once, which of them with different labels, or are no texts."""
    names = [name for name in table.columns if name != "label"]
    seen: dict[tuple, list[int]] = defaultdict(list)
    for i, row in enumerate(zip(*(table.columns[name] for name in names), strict=True)):
        seen[tuple(map(fold, row))].append(i)
    again = [at for at in seen.values() if len(at) > 1]
    labels = table.columns["label"]
    at_odds = [at for at in again if len({labels[i] for i in at}) > 1]
    if all(re.fullmatch(r"[\d.,]+", text) for text in table.columns["text"]):
        return f"all texts of {table.where} are numbers; name another column by --columns text=NAME"
    if not again:
        return ""
    said = f"in {table.where}, texts that come more than once: {len(again)}"
    if at_odds:
        first = " and ".join(f"row {table.places[i][0]} ({labels[i]})" for i in at_odds[0][:2])
        said += f", of them with different labels: {len(at_odds)}, such as {first}; all rows are kept"
    return said
