"""Loading a corpus: from this package, the Hugging Face hub, a local mirror of its files, or a folder of your own."""

import os
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from ..config import Data, RunConfig
from ..errors import FedPromptError
from . import own
from .corpora import Corpus, corpus_of
from .draws import Draw, choose, complete, digest
from .readers import Columns, Table, read_table, remarks, take
from .tables import asked_of

DATA_VARIABLE = "FEDPROMPT_DATA"
FEW = 50  # test examples of own data
OWN = "own"  # the task of your own data
MOST_LABELS = 10_000  # more than this are texts taken for labels, and are refused before memory is asked for
Files = dict[str, dict[str, Table]]  # by language and split


def find_folder(corpus: Corpus, data_dir: str | Path | None) -> Path | None:
    """Return the folder to read a corpus from, or None for the hub; FEDPROMPT_DATA without the corpus leaves it to it.

    `data_dir` and, next, FEDPROMPT_DATA name the folder of several corpora or that of the one.
    """
    if corpus.task == OWN:
        return _own_root(corpus, data_dir)
    if corpus.packaged:
        if data_dir:
            what = f"task {corpus.task!r} is in this package, not in {str(data_dir)!r}"
            raise FedPromptError(f"{what}; leave data_dir out")
        return Path(__file__).parent / corpus.folder
    given = data_dir or os.environ.get(DATA_VARIABLE)
    expected = corpus.file.format(language="LANGUAGE", split=corpus.reads[-1])
    if not given:
        return None
    name, root = "data_dir" if data_dir else DATA_VARIABLE, Path(given).expanduser()
    if not root.is_dir():
        raise FedPromptError(f"{name} is {str(given)!r}, which is not a folder; name the folder that has the files")
    for folder in (root / corpus.folder, root):
        if _languages_in(corpus, folder):
            return folder
    if not data_dir:
        return None
    expected = f"expected {expected} or {corpus.folder}/{expected}"
    raise FedPromptError(f"no file of task {corpus.task!r} in {name} {str(given)!r}; {expected}")


def _own_root(corpus: Corpus, data_dir: str | Path | None) -> Path:
    """Return where own data lies: a folder, or one table; in the folder of several tasks, the folder of its name."""
    given = data_dir or os.environ.get(DATA_VARIABLE)
    if not given:
        way = f"name it by --data-dir (data_dir) or {DATA_VARIABLE}, with a folder or a table for each language"
        raise FedPromptError(f"task {corpus.task!r} reads tables of yours; {way}")
    root = Path(given).expanduser()
    if not root.exists():
        name = "data_dir" if data_dir else DATA_VARIABLE
        raise FedPromptError(f"{name} is {str(given)!r}, where nothing is; name the folder that has the tables")
    return root / corpus.folder if (root / corpus.folder).is_dir() else root


def _languages_in(corpus: Corpus, folder: Path) -> tuple[str, ...]:
    found = set()
    for split in corpus.reads:
        before, after = corpus.file.format(language="*", split=split).split("*")
        paths = [path.relative_to(folder).as_posix() for path in folder.glob(f"{before}*{after}")]
        found |= {path.removeprefix(before).removesuffix(after) for path in paths}
    return tuple(sorted(found))


def available_languages(name: str, data_dir: str | Path | None = None, **named: Any) -> tuple[str, ...]:
    """Return the languages of a task: those that a local folder has files of, else those on the hub.

    Of own data `named` says what is called otherwise, as for ``load_task``.
    """
    corpus = corpus_of(name)
    folder = find_folder(corpus, data_dir)
    if corpus.task == OWN and folder:
        return own.languages(folder, asked_of(Data(**named)))
    return tuple(corpus.rows) if folder is None or corpus.packaged else _languages_in(corpus, folder)


class Loaded(NamedTuple):
    """One language: its splits, which labels it has, a digest of all the rows that were read, and remarks."""

    language: str
    splits: dict[str, Columns]
    label_set: tuple[str, ...]
    source: str
    notes: list[str]


def load(
    corpus: Corpus, config: RunConfig, languages: Sequence[str], given: Sequence[str] | None
) -> tuple[tuple[str, ...], str, Iterator[Loaded]]:
    """Return the labels of a corpus, where it is from, and some languages, loaded one by one to save memory."""
    data, folder = config.data, find_folder(corpus, config.data.data_dir)
    budgets = dict(zip(data.languages, cycle(data.label_budget or (None,))))
    files, said = {}, {}
    if corpus.task == OWN and folder:
        files, said = own.of(folder, asked_of(data), languages, data.unseen)
    elif folder:
        files = {name: _read(corpus, folder, name, name in data.unseen) for name in languages}
    labels = corpus.labels or _own_labels(files, data.unseen, given)
    if given is not None and set(given) != set(labels):
        raise FedPromptError(f"labels are given, but task {corpus.task!r} has others of its own; leave them out")
    for table in [table for tables in files.values() for table in tables.values()]:
        table.check_labels(labels)
    source = "this package" if corpus.packaged else "local files" if folder else f"the hub, {corpus.hub}"
    field = data.text_field or next(iter(corpus.fields), None)

    def part(language: str) -> Loaded:
        if folder is None:
            splits = _download(corpus, language)
        else:
            splits = {split: table.columns for split, table in files.pop(language).items()}
        only_tested, notes, whole = language in data.unseen, [], digest(language, splits)
        draw = Draw(config.seed, data, budgets.get(language))
        sizes = dict(zip(corpus.reads, corpus.rows.get(language, ()), strict=False))
        if sizes and not only_tested and sizes != {split: len(rows["label"]) for split, rows in splits.items()}:
            listed = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
            notes = [f"{language}: the whole corpus has {listed} rows"]
        notes += [f"{language}: {word}" for word in said.get(language, ())]
        if only_tested and "test" in splits:
            splits |= {split: take(splits["test"], []) for split in ("train", "dev")}
        notes += complete(corpus, language, splits, draw)
        if field:
            splits = {split: _compose(columns, corpus.fields[field]) for split, columns in splits.items()}
        if only_tested:
            seen = set(splits["test"]["label"])
            notes.append(f"{language}: only tested")
            splits |= {split: take(splits[split], []) for split in ("train", "dev")}
        else:
            seen = {*splits["train"]["label"], *splits["dev"]["label"]}
            notes += remarks(language, splits, labels)
            notes += choose(corpus, language, splits, draw)
        if corpus.task == OWN and (tested := len(splits["test"]["label"])) < FEW:
            notes.append(
                f"{language}: each of {tested} test examples is {100 / tested:.0f} points; compare nothing on so few"
            )
        return Loaded(language, splits, tuple(label for label in labels if label in seen), whole, notes)

    return labels, f"{corpus.title}, from {source}{f'; text: {field}' if field else ''}", map(part, languages)


def _compose(columns: Columns, names: Sequence[str]) -> Columns:
    cells = zip(*(columns[name] for name in names), strict=True)
    return {"text": [" ".join(filter(None, row)) for row in cells], "label": columns["label"]}


def own_labels(config: RunConfig, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the training tables of some languages, sorted: what one client knows of own data."""
    folder = find_folder(corpus_of(OWN), config.data.data_dir) or Path()
    return _own_labels(own.of(folder, asked_of(config.data), languages, ())[0], (), None)


def _own_labels(files: Files, unseen: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels given, or those of all training files, sorted, if all files have the same columns."""
    pairs = {"text_pair" in table.columns: table.where for tables in files.values() for table in tables.values()}
    if len(pairs) > 1:
        what = f"{pairs[True]} has a column 'text_pair', {pairs[False]} has none"
        raise FedPromptError(f"{what}; give it to all files or none")
    used = [tables for language, tables in files.items() if language not in unseen]
    seen = [tables["train" if "train" in tables else "dev"].columns["label"] for tables in used]
    labels = tuple(sorted({label for column in seen for label in column}) if given is None else dict.fromkeys(given))
    if len(labels) > MOST_LABELS:
        found = f"{len(labels):,} different labels, such as {labels[0][:40]!r}"
        raise FedPromptError(f"{found}; expected at most {MOST_LABELS:,}: name the column of classes by --columns")
    return labels


def _read(corpus: Corpus, folder: Path, language: str, only_tested: bool) -> dict[str, Table]:
    tables = {}
    for split in ("test",) if only_tested and "test" in corpus.reads else corpus.reads:
        path = folder / corpus.file.format(language=language, split=split)
        if path.is_file():
            tables[split] = read_table(path, language, corpus)
        elif split != corpus.spare:
            raise FedPromptError(f"{language}: no file {path.name}; expected {path}")
    return tables


def _download(corpus: Corpus, language: str) -> dict[str, Columns]:
    """Load one language from the hub, where ``corpus.hub`` may also be a folder on disk, and check it."""
    from datasets import ClassLabel, load_dataset

    config = corpus.config.format(language=language)
    source = f"{corpus.hub} (configuration {config!r})"
    way_out = f"name a folder with the files of {corpus.task} by --data-dir (data_dir) or {DATA_VARIABLE}"
    try:
        data = load_dataset(corpus.hub, config, revision=corpus.revision)
    except Exception as error:  # of many kinds: no network, no such revision, a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        fault = f"cannot load {source} from the Hugging Face hub ({reason}); go online, or {way_out}"
        raise FedPromptError(fault) from error

    def differs(found: str, expected: str) -> FedPromptError:
        what = f"found {found}, expected {expected}; it is not the corpus that this task means: {way_out}"
        return FedPromptError(f"{source}, {name}: {what}")

    splits = {}
    for number, split in enumerate(corpus.reads):
        name = corpus.dev.format(language=language) if split == "dev" else split
        if name not in data:
            raise differs(f"the splits {', '.join(map(str, data))}", "this one")
        rows = data[name]
        if missing := [column for column in corpus.hub_columns.values() if column not in rows.column_names]:
            raise differs(f"the columns {', '.join(rows.column_names)}", f"also {', '.join(missing)}")
        if (expected := corpus.rows[language]) and len(rows) != expected[number]:
            raise differs(f"{len(rows):,} rows", f"{expected[number]:,}")
        columns = {ours: rows[theirs][:] for ours, theirs in corpus.hub_columns.items()}
        feature = rows.features[corpus.hub_columns["label"]]
        if isinstance(feature, ClassLabel):
            # A row without label has the number -1, which must not be the last name.
            columns["label"] = [feature.names[i] if i >= 0 else "none" for i in columns["label"]]
        columns = {ours: [(value or "").strip() for value in values] for ours, values in columns.items()}
        if unknown := set(columns["label"]) - set(corpus.labels):
            raise differs(f"the label {min(unknown)!r}", f"one of {', '.join(corpus.labels)}")
        splits[split] = columns
    return splits
