"""Loading a corpus from the Hugging Face hub, from a local mirror of its files, or from a folder of your own."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from .corpora import Corpus
from .errors import FedPromptError
from .tables import SPLITS, Columns, Loaded, Part, Table, deal, fold, read_table, remarks

DATA_VARIABLE = "FEDPROMPT_DATA"
DEV_SHARE = 0.2  # of the rows of a file that is split into train and dev
WELLER = (8_000, 1_000)  # Weller et al. (2022): training and dev rows of each XGLUE dev file; the rest is the test set
WELLER_ROWS = 10_000


def find_folder(corpus: Corpus, data_dir: Path | None) -> Path | None:
    """Return the folder to read a corpus from, or None for the hub.

    `data_dir` comes first, then the environment variable FEDPROMPT_DATA. Either may name a folder of several
    corpora or that of the one. A FEDPROMPT_DATA without this corpus leaves it to the hub.

    Raises
    ------
    FedPromptError
        If the folder does not exist or has no file of the corpus, or none was given and there is no hub.
    """
    given = data_dir or os.environ.get(DATA_VARIABLE)
    expected = corpus.file.format(language="LANGUAGE", split=corpus.reads[-1])
    if not given:
        if corpus.hub:
            return None
        raise FedPromptError(
            f"task {corpus.task!r} reads a folder of yours; name it by --data-dir (data_dir) or {DATA_VARIABLE}, "
            f"with one file {expected} a language"
        )
    name = "data_dir" if data_dir else DATA_VARIABLE
    root = Path(given).expanduser()
    if not root.is_dir():
        raise FedPromptError(f"{name} is {str(given)!r}, which is not a folder; name the folder that has the files")
    for folder in (root / corpus.folder, root):
        if _languages_in(corpus, folder):
            return folder
    if not data_dir and corpus.hub:
        return None
    raise FedPromptError(
        f"no file of task {corpus.task!r} in {name} {str(given)!r}; expected {expected} or {corpus.folder}/{expected}"
    )


def _languages_in(corpus: Corpus, folder: Path) -> tuple[str, ...]:
    found = set()
    for split in corpus.reads:
        before, after = corpus.file.format(language="*", split=split).split("*")
        for path in folder.glob(f"{before}*{after}"):
            found.add(path.relative_to(folder).as_posix().removeprefix(before).removesuffix(after))
    return tuple(sorted(found))


def languages(corpus: Corpus, data_dir: Path | None) -> tuple[str, ...]:
    """Return the languages that there are files of, or those on the hub."""
    folder = find_folder(corpus, data_dir)
    return tuple(corpus.rows) if folder is None else _languages_in(corpus, folder)


def load(
    corpus: Corpus,
    chosen: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    text_field: str | None = None,
    unseen: tuple[str, ...] = (),
) -> Loaded:
    """Load languages of a corpus: official splits as they are, a missing one split off, training rows shuffled.

    Of the languages in `unseen` the test file is enough, where the corpus has one.

    Raises
    ------
    FedPromptError
        If a file has a fault, the source on the hub is not as expected, or it cannot be reached.
    """
    folder = find_folder(corpus, data_dir)
    read = chosen if folder is not None else ()
    files = {language: _read(corpus, folder, language, language in unseen) for language in read}
    labels = corpus.labels or _own_labels(files, unseen)
    for tables in files.values():
        for table in tables.values():
            table.check_labels(labels)

    def parts() -> Iterator[Part]:
        for language in chosen:
            if folder is None:
                splits = _download(corpus, language)
            else:
                splits = {split: table.columns for split, table in files.pop(language).items()}
            if "test" in splits and language in unseen:
                splits |= {split: {name: [] for name in splits["test"]} for split in ("train", "dev")}
            whole = [] if language in unseen else _whole_corpus(corpus, language, splits)
            split_off = _complete(corpus, language, splits, random.Random(f"{corpus.task}-{seed}-{language}-split"))
            splits = {split: _compose(corpus, splits[split], text_field) for split in SPLITS}
            size = len(splits["train"]["label"])
            order = random.Random(f"{corpus.task}-{seed}-{language}-order").sample(range(size), size)
            splits["train"] = _take(splits["train"], order)
            said = [f"{language}: only tested"] if language in unseen else remarks(language, splits, labels)
            yield Part(language, splits, (*whole, *split_off, *said))

    source = f"the hub, {corpus.hub}" if folder is None else "local files"
    chosen_field = f"; text: {text_field or next(iter(corpus.fields))}" if corpus.fields else ""
    return Loaded(labels, parts(), (f"{corpus.title}, from {source}{chosen_field}",))


def _own_labels(files: dict[str, dict[str, Table]], unseen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels of all training files together, sorted, if all files have the same columns."""
    pairs = {"text_pair" in table.columns: table for tables in files.values() for table in tables.values()}
    if len(pairs) > 1:
        raise FedPromptError(
            f"{pairs[True].where} has a column 'text_pair', {pairs[False].where} has none; give it to all files or none"
        )
    seen = [tables["train"].columns["label"] for language, tables in files.items() if language not in unseen]
    return tuple(sorted({label for column in seen for label in column}))


def _take(columns: Columns, rows: list[int]) -> Columns:
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def _read(corpus: Corpus, folder: Path, language: str, only_tested: bool = False) -> dict[str, Table]:
    tables = {}
    columns = {name: column.format(language=language) for name, column in corpus.columns.items()}
    for split in corpus.reads:
        if only_tested and split != "test" and "test" in corpus.reads:
            continue
        path = folder / corpus.file.format(language=language, split=split)
        if path.is_file():
            tables[split] = read_table(
                path, language, columns, optional=corpus.optional, header=corpus.header, quoted=corpus.quoted,
                may_be_empty=[name for name in columns if corpus.fields and name != "label"],
            )  # fmt: skip
        elif split != corpus.spare:
            raise FedPromptError(f"{language}: no file {path.name}; expected {path}")
    return tables


def _download(corpus: Corpus, language: str) -> dict[str, Columns]:
    """Load one language from the hub, where ``corpus.hub`` may also be a folder on disk, and check it."""
    from datasets import ClassLabel, load_dataset

    config = corpus.config.format(language=language)
    source = f"{corpus.hub} (configuration {config!r})"
    try:
        data = load_dataset(corpus.hub, config, revision=corpus.revision)
    except Exception as error:  # of many kinds: no network, no such revision, a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FedPromptError(
            f"cannot load {source} from the Hugging Face hub ({reason}); go online, or name a folder with the files "
            f"of {corpus.task} by --data-dir (data_dir) or {DATA_VARIABLE}"
        ) from error

    def differs(name: str, found: object, expected: object) -> FedPromptError:
        return FedPromptError(
            f"{source}, {name}: found {found}, expected {expected}; it is not the corpus that this task means: "
            f"name a folder with the files of {corpus.task} by --data-dir (data_dir) or {DATA_VARIABLE}"
        )

    splits = {}
    for number, split in enumerate(corpus.reads):
        name = corpus.dev.format(language=language) if split == "dev" else split
        if name not in data:
            raise differs(name, f"the splits {', '.join(data)}", "this one")
        rows = data[name]
        if missing := [column for column in corpus.hub_columns.values() if column not in rows.column_names]:
            raise differs(name, f"the columns {', '.join(rows.column_names)}", f"also {', '.join(missing)}")
        if (expected := corpus.rows[language]) and len(rows) != expected[number]:
            raise differs(name, f"{len(rows):,} rows", f"{expected[number]:,}")
        columns = {ours: rows[theirs][:] for ours, theirs in corpus.hub_columns.items()}
        feature = rows.features[corpus.hub_columns["label"]]
        if isinstance(feature, ClassLabel):
            # A row without label has the number -1, which must not be the last name.
            columns["label"] = [feature.names[i] if i >= 0 else "none" for i in columns["label"]]
        columns = {ours: [(value or "").strip() for value in values] for ours, values in columns.items()}
        if unknown := set(columns["label"]) - set(corpus.labels):
            raise differs(name, f"the label {min(unknown)!r}", f"one of {', '.join(corpus.labels)}")
        splits[split] = columns
    return splits


def _whole_corpus(corpus: Corpus, language: str, splits: dict[str, Columns]) -> list[str]:
    """Say how large the whole corpus is, if this is not it."""
    sizes = dict(zip(corpus.reads, corpus.rows.get(language, ()), strict=False))
    if not sizes or sizes == {split: len(columns["label"]) for split, columns in splits.items()}:
        return []
    return [f"{language}: the whole corpus has {', '.join(f'{size:,} {split}' for split, size in sizes.items())} rows"]


def _complete(corpus: Corpus, language: str, splits: dict[str, Columns], rng: random.Random) -> list[str]:
    """Split off what is missing of train, dev and test, and say so."""
    missing = [split for split in SPLITS if split not in splits]
    if not missing:
        return []
    source = "dev" if "dev" in splits else "train"
    columns = splits[source]
    size = len(columns["label"])
    if "test" in missing:
        targets, sizes = SPLITS, WELLER if size >= WELLER_ROWS else (round(0.8 * size), round(0.1 * size))
    else:
        targets, sizes = ("train", "dev"), (size - max(1, round(DEV_SHARE * size)),)
    names = ["text"] if "text_pair" in columns else [name for name in columns if name != "label"]
    keys = [tuple(map(fold, row)) for row in zip(*(columns[name] for name in names), strict=True)]
    for split, rows in zip(targets, deal(language, keys, columns["label"], sizes, rng), strict=True):
        splits[split] = _take(columns, rows)
    shares = ", ".join(f"{len(splits[split]['label']):,} {split}" for split in targets)
    if "test" in missing:
        rule = "8,000/1,000/rest" if size >= WELLER_ROWS else "8,000/1,000/rest of 10,000; here 80/10/10%"
        why = f"as Weller et al. (2022) do ({rule}), for English alone has a training file"
    else:
        why = f"for there is no {missing[0]} file"
    return [f"{language}: the {size:,} rows of the {source} file are split, {why}: {shares}, by seed and label"]


def _compose(corpus: Corpus, columns: Columns, text_field: str | None) -> Columns:
    """Make the text from the columns that `text_field` names."""
    if not corpus.fields:
        return columns
    names = corpus.fields[text_field or next(iter(corpus.fields))]
    cells = zip(*(columns[name] for name in names), strict=True)
    return {"text": [" ".join(filter(None, row)) for row in cells], "label": columns["label"]}
