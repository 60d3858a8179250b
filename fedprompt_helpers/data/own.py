"""Your own data: tables found and read, and what is odd about them is said, not passed over (chapter 1).

A folder has one folder or one file a language, or files or one table with a column of languages.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import FedPromptError
from .corpora import SPLITS
from .readers import Row, is_table
from .tables import Asked, Table, has, rows, split_of, text_keys

# What the files of other kinds than tables are called.
FORMS = {"tokens": (".conll", ".bio", ".tsv", ".txt"), "span": (".json",)}
KNOWN = ".tsv, .csv, .txt, .jsonl, .json, or what datasets saved"
Tables = dict[str, dict[str, Table]]  # by language and split
Notes = dict[str, list[str]]  # by language


class Source(NamedTuple):
    """A table on disk, and the language and the split that its place says it is of, if it says so."""

    path: Path
    language: str | None
    split: str | None


def sources(root: Path, asked: Asked) -> tuple[list[Source], list[str]]:
    """Find the tables under a path, and say which files are not read."""
    if is_table(root) or (root.is_file() and asked.kind in FORMS):
        return [Source(root, None, None)], []
    if root.is_file():
        raise FedPromptError(f"{str(root)!r} is no table that is known; expected {KNOWN}: save a spreadsheet as CSV")
    found, unread = [], []
    for path in _inside(root):
        if _is_one(path, asked):
            language, split = _named(path.stem if path.is_file() else path.name, asked)
            found.append(Source(path, None if has(path, asked, "language") else language, split))
        elif path.is_file() or path.name[0] in "._":
            unread.append(path)
        else:
            inside = _inside(path)
            tables = {each: split_of(each.stem, asked) for each in inside if _is_one(each, asked)}
            read = [each for each in tables if tables[each] or len(tables) == 1]
            found += [Source(each, path.name, tables[each]) for each in read]
            unread += [each for each in inside if each not in read]
    names = [path.relative_to(root).as_posix().encode(errors="backslashreplace").decode() for path in unread]
    said = [f"not read: {', '.join(names[:10])}" + f" and {len(names) - 10} more" * (len(names) > 10)] if names else []
    if not found:
        forms = ", ".join(FORMS.get(asked.kind, (KNOWN,)))
        forms = f"{forms}, such as LANGUAGE/train.tsv, LANGUAGE.csv, or train.jsonl with a column of languages"
        raise FedPromptError("; ".join([f"no table in {str(root)!r}", f"expected {forms}", *said]))
    return found, said


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FedPromptError(f"{folder} cannot be read: {error.strerror}; look who may read it") from error


def _is_one(path: Path, asked: Asked) -> bool:
    """Whether a path is a table of examples: a hidden file is none, nor a note or settings without their columns."""
    if forms := FORMS.get(asked.kind):
        named = path.suffix.lower() != ".txt" or split_of(path.stem, asked)
        return path.name[0] not in "._" and path.is_file() and path.suffix.lower() in forms and bool(named)
    loose = path.suffix.lower() in (".txt", ".json") and not split_of(path.stem, asked)
    return path.name[0] not in "._" and is_table(path) and (not loose or has(path, asked, "text", "label"))


def _named(name: str, asked: Asked) -> tuple[str | None, str | None]:
    """Tell language and split from a name: train, en, en.train, train_en."""
    words = re.split("[._-]", name)
    for word, rest in ((name, ""), (words[-1], name[: -len(words[-1]) - 1]), (words[0], name[len(words[0]) + 1 :])):
        if split := split_of(word, asked):
            return rest or None, split
    return name, None


def read(root: Path, asked: Asked, wanted: Iterable[str] | None = None) -> tuple[Tables, Notes]:
    """Read the tables of some languages, or of all, and what is to be said of each.

    Raises
    ------
    FedPromptError
        Naming file, row and line, what was found and what was expected.
    """
    root, only, tables = root.resolve(), None if wanted is None else {*wanted, None}, {}
    heard: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # language, remark: files
    files: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)  # language, split: files
    found, said = sources(root, asked)
    for source in [source for source in found if only is None or source.language in only]:
        remarks, seen, told = [], set(), None
        where = ", ".join(filter(None, (source.language, source.path.name)))
        where = where.encode(errors="backslashreplace").decode()  # a name may be in no encoding
        for row in rows(source.path, where, asked, remarks):
            told = row.cells.get("language")
            language, split = _whose(row, source, root.stem, asked)
            seen.add(language)
            if only is not None and language not in only:
                continue
            table = tables.setdefault(language, {}).setdefault(split, Table(row.table, {}, []))
            if table.columns and table.columns.keys() != row.cells.keys():
                what = f"columns of {' and '.join(row.cells)}, but {table.where} has {' and '.join(table.columns)}"
                raise row.fault(f"{what}; give all files of a split the same, or name them")
            table.add(row)
            files[language, split][source.path.relative_to(root).as_posix()] = None
        if len(found) == len(seen) == 1 and not told:
            who = f"no column of languages is known, so all rows are one client, {next(iter(seen))!r}"
            remarks.append(f"{who}; name one by --columns language=NAME")
        for language in seen:
            for remark in remarks:
                heard[language][remark].add(source.path.name)
    notes = {x: said + [f"{', '.join(sorted(of))}: {remark}" for remark, of in heard[x].items()] for x in tables}
    for (language, split), of in files.items():
        if len(of) > 1:
            listed = ", ".join([*of][:5]) + ", ..." * (len(of) > 5)
            notes[language].append(f"{split} is read from {len(of)} tables: {listed}")
    return tables, notes


def _whose(row: Row, source: Source, default: str, asked: Asked) -> tuple[str, str]:
    """Tell language and split of a row by its place and by its columns, which are taken out, and must not differ."""
    told, stated = row.cells.pop("language", None), row.cells.pop("split", "")
    language = source.language or told or default
    if told and told != language:  # a folder is not opened to learn whose it is
        what = f"its folder says {language!r}, its column {told!r}; move it out of the folder, or"
        raise row.fault(f"{what} leave the column unread: --columns language=")
    if language[0] in ". " or not language.isprintable() or set("/\\:") & set(language):
        what = f"the language {language[:40]!a} cannot name a folder; expected a code, as in cy"
        raise FedPromptError(f"{row.table}: {what}")
    if stated and not split_of(stated, asked):
        step = f"name it by --split-names, as in test={stated}, or read no such column: --columns split="
        raise row.fault(f"unknown split {stated!r}; {step}")
    splits = sorted(filter(None, {source.split, split_of(row.part, asked), split_of(stated, asked)}))
    if len(splits) > 1:
        both = " and ".join(splits)
        raise row.fault(f"it is of {both}, by file and column; rename one, or give --columns split=")
    return language, splits[0] if splits else "train"


def languages(root: Path, asked: Asked) -> tuple[str, ...]:
    """Name the languages that there are tables of; only a table with a column of languages has to be read for it."""
    names = {source.language for source in sources(root.resolve(), asked)[0]}
    return tuple(sorted(read(root, asked)[0] if None in names else filter(None, names)))


def of(root: Path, asked: Asked, wanted: Iterable[str], unseen: Iterable[str]) -> tuple[Tables, Notes]:
    """Read the tables of some languages, of the unseen ones the test split alone, and look for repeated texts."""
    tables, notes = read(root, asked, wanted)
    for language in wanted:
        splits = tables.get(language, {})
        if language in unseen and "test" in splits:
            splits = {"test": splits["test"]}
        elif not {"train", "dev"} & set(splits):
            found = f"found {', '.join(splits)} alone" if splits else "no table"
            raise FedPromptError(f"{language}: {found}; expected a split to train on; name it by --split-names")
        notes[language] += filter(None, map(contradictions, splits.values()))
        tables[language] = {split: splits[split] for split in SPLITS if split in splits}
    return {language: tables[language] for language in wanted}, notes


def odd_labels(labels: Iterable[str]) -> list[str]:
    """Name labels that differ by case, or by the way a number is written, alone."""
    alike = defaultdict(list)
    for label in sorted(set(labels)):
        number = re.fullmatch(r"[+-]?\d+(\.\d*)?", label)
        alike[float(label) if number else label.casefold()].append(label)
    groups = [" and ".join(map(repr, group)) for group in alike.values() if len(group) > 1]
    return [f"labels {group} are taken for different classes; if they are one, write them alike" for group in groups]


def contradictions(table: Table) -> str:
    """Say which texts of a table stand there more than once, which of them with different labels, or are no texts."""
    if all(re.fullmatch(r"[\d.,]+", text) for text in table.columns["text"]):
        return f"all texts of {table.where} are numbers; name another column by --columns text=NAME"
    seen: dict[tuple, list[tuple[str, str]]] = defaultdict(list)
    for key, place, label in zip(text_keys(table.columns), table.places, table.columns["label"], strict=True):
        seen[key].append((f"{place} ({label})", label))
    again = [rows for rows in seen.values() if len(rows) > 1]
    at_odds = [rows for rows in again if len({label for _, label in rows}) > 1]
    said = f"in {table.where}, texts that come more than once: {len(again)}" if again else ""
    if at_odds:
        first = " and ".join(place for place, _ in at_odds[0][:2])
        said += f", of them with different labels: {len(at_odds)}, such as {first}; all rows are kept"
    return said
