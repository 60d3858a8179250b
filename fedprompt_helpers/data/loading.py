"""Loading a corpus: from this package, the Hugging Face hub, a local mirror of its files, or a folder of your own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ..checks import OWN
from ..config import Data, RunConfig
from ..errors import FedPromptError
from . import kinds, own
from .corpora import Corpus, corpus_of
from .readers import values_of
from .tables import COLUMNS, Asked, Columns, Table, asked_of, rows

DATA_VARIABLE = "FEDPROMPT_DATA"
MOST_LABELS = 10_000  # more than this are texts taken for labels, and are refused before memory is asked for


def find_folder(corpus: Corpus, data_dir: str | Path | None) -> Path | None:
    """Return the folder (of own data, or the table) to read a corpus from, or None for the hub.

    `data_dir` and, next, FEDPROMPT_DATA name the folder of several corpora or that of the one; the variable may name
    one without the corpus, which then comes from the hub.
    """
    if corpus.packaged and data_dir:
        what = f"task {corpus.task!r} is in this package, not in {str(data_dir)!r}"
        raise FedPromptError(f"{what}; leave data_dir out")
    if corpus.packaged:
        return Path(__file__).parent / corpus.folder
    given, name = data_dir or os.environ.get(DATA_VARIABLE), "data_dir" if data_dir else DATA_VARIABLE
    if not given and corpus.task in OWN:
        way = f"name it by --data-dir (data_dir) or {DATA_VARIABLE}, with a folder or a table for each language"
        raise FedPromptError(f"task {corpus.task!r} reads tables of yours; {way}")
    if not given:
        return None
    root = Path(given).expanduser()
    if not root.exists():
        raise FedPromptError(f"{name} is {str(given)!r}, where nothing is; name the folder that has the files")
    for folder in (root / corpus.folder, root):
        if folder.is_dir() if corpus.task in OWN else _languages_in(corpus, folder):
            return folder
    if corpus.task in OWN or not data_dir:
        return root if corpus.task in OWN else None
    expected = corpus.file.format(language="LANGUAGE", split=corpus.reads[-1])
    expected = f"expected {expected} or {corpus.folder}/{expected}"
    raise FedPromptError(f"no file of task {corpus.task!r} in {name} {str(given)!r}; {expected}")


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
    corpus, asked = corpus_of(name), cast(Any, {"task": name} | named)
    folder = find_folder(corpus, data_dir)
    if corpus.task in OWN and folder:
        return own.languages(folder, asked_of(Data(**asked)))
    return tuple(corpus.rows) if folder is None or corpus.packaged else _languages_in(corpus, folder)


def local(corpus: Corpus, folder: Path, config: RunConfig, languages: Sequence[str]) -> tuple[own.Tables, own.Notes]:
    """Read the files of some languages, of those that are only tested the test split alone if there is one."""
    if corpus.task in OWN:
        return own.of(folder, asked_of(config.data), languages, config.data.unseen)
    return {language: _read(corpus, folder, language, language in config.data.unseen) for language in languages}, {}


def own_labels(config: RunConfig, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the training tables of some languages, sorted: what one client knows of own data."""
    corpus = corpus_of(config.data.task)
    folder = find_folder(corpus, config.data.data_dir) or Path()
    return labels_of(own.of(folder, asked_of(config.data), languages, ())[0], (), None, corpus.kind)


def labels_of(
    files: own.Tables, unseen: Sequence[str], given: Sequence[str] | None, kind: str = "text"
) -> tuple[str, ...]:
    """Return the labels given, or those of all training files, sorted, if all files have the same columns."""
    pairs = {"text_pair" in table.columns: table.where for tables in files.values() for table in tables.values()}
    if len(pairs) > 1:
        what = f"{pairs[True]} has a column 'text_pair', {pairs[False]} has none"
        raise FedPromptError(f"{what}; give it to all files or none")
    used = [tables for language, tables in files.items() if language not in unseen]
    rows = {row for tables in used for row in tables["train" if "train" in tables else "dev"].columns["label"]}
    seen = {label for row in rows for label in kinds.parts(kind, row)}
    labels = tuple(sorted(seen) if given is None else dict.fromkeys(given))
    if len(labels) > MOST_LABELS:
        found = f"{len(labels):,} different labels, such as {labels[0][:40]!r}"
        raise FedPromptError(f"{found}; expected at most {MOST_LABELS:,}: name the column of classes by --columns")
    return labels


def _read(corpus: Corpus, folder: Path, language: str, only_tested: bool) -> dict[str, Table]:
    """Read the files of one language of a mirror, strictly."""
    columns = {name: column.format(language=language) for name, column in corpus.columns.items()}
    header, may_be_empty = () if corpus.header else tuple(columns.values()), tuple(columns) if corpus.fields else ()
    quotes, unread = "always" if corpus.quoted else "never", dict.fromkeys(COLUMNS, "")
    asked = Asked(unread | columns, {}, quotes, header, may_be_empty, corpus.kind, False)
    tables = {}
    for split in ("test",) if only_tested and "test" in corpus.reads else corpus.reads:
        path = folder / corpus.file.format(language=language, split=split)
        if path.is_file():
            tables[split] = Table(f"{language}, {path.name}", {}, [])
            for row in rows(path, tables[split].where, asked, []):
                tables[split].add(row)
        elif split != corpus.spare:
            raise FedPromptError(f"{language}: no file {path.name}; expected {path}")
    return tables


def download(corpus: Corpus, language: str) -> dict[str, Columns]:
    """Load one language from the hub, where ``corpus.hub`` may also be a folder on disk, and check it."""
    from datasets import Dataset, load_dataset

    config = corpus.config.format(language=language)
    source = f"{corpus.hub} (configuration {config!r})"
    way_out = f"name a folder with the files of {corpus.task} by --data-dir (data_dir) or {DATA_VARIABLE}"
    try:
        data = load_dataset(corpus.hub, config, revision=corpus.revision)
    except Exception as error:  # of many kinds: no network, no such revision, a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        fault = f"cannot load {source} from the Hugging Face hub ({reason}); go online, or {way_out}"
        raise FedPromptError(fault) from error
    splits = {}
    for number, split in enumerate(corpus.reads):
        name = corpus.dev.format(language=language) if split == "dev" else split
        rows = data.get(name, Dataset.from_dict({}))
        columns = {ours: values_of(rows, x) for ours, x in corpus.hub_columns.items() if x in rows.column_names}
        names = getattr(getattr(rows.features.get(corpus.hub_columns["label"]), "feature", None), "names", None)
        whole = columns.keys() == corpus.hub_columns.keys()
        splits[split] = kinds.from_hub(corpus.kind if whole else "text", columns, names or corpus.labels)
        size = corpus.rows[language][number] if corpus.rows[language] else len(rows)
        found = {x for row in splits[split].get("label", ()) for x in kinds.parts(corpus.kind, row)}
        odd = sorted(found - {*corpus.labels})
        if len(rows) != size or columns.keys() != corpus.hub_columns.keys() or odd:
            found = (
                f"found {len(rows):,} rows of {', '.join(rows.column_names) or 'nothing'}, labels {odd[:3] or 'known'}"
            )
            wanted = f"expected {size:,} rows of {', '.join(corpus.hub_columns.values())}, labels {list(corpus.labels)}"
            what = f"{found}; {wanted}; it is not the corpus that this task means: {way_out}"
            raise FedPromptError(f"{source}, {name}: {what}")
    return splits
