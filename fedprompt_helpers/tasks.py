"""A task: train, dev and test sentences in several languages under one set of labels.

>>> task = load_task("intents", ["en", "cy"], train_size=48)
>>> task.data["cy"]["train"].column_names
['text', 'label']
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from fedprompt_helpers import intents, loading
from fedprompt_helpers.corpora import CORPORA
from fedprompt_helpers.errors import FedPromptError, check_choice
from fedprompt_helpers.tables import SPLITS, Columns, Loaded, Part


@dataclass(frozen=True)
class Task:
    """What a client trains and is tested on.

    Attributes
    ----------
    name : str
        The task's name in `TASKS`.
    languages : tuple of str
        In the order asked for.
    labels : tuple of str
        One label set for every language, in a fixed order.
    data : dict of str to datasets.DatasetDict
        For each language ``train``, ``dev`` and ``test`` with the columns ``text`` (string) and ``label``
        (`datasets.ClassLabel`), for sentence pairs also ``text_pair``. Training examples come by class in
        turn, so the first n of them are what ``train_size=n`` gives.
    notes : tuple of str
        What a user should know about the data.
    """

    name: str
    languages: tuple[str, ...]
    labels: tuple[str, ...]
    data: dict[str, DatasetDict]
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """How to get one task: what it is, which languages there are, and their rows."""

    about: str  # one line
    languages: Callable[[Path | None], tuple[str, ...]]
    load: Callable[[tuple[str, ...], int, Path | None, str | None, tuple[str, ...]], Loaded]
    fields: tuple[str, ...] = ()  # choices of text_field, the default first; none where a row has one text only


def _intents_languages(data_dir: Path | None) -> tuple[str, ...]:
    if data_dir is not None:
        raise FedPromptError(
            "task 'intents' comes from the installed package home-assistant-intents, "
            f"not from {str(data_dir)!r}; leave data_dir out"
        )
    return intents.languages()


def _load_intents(
    languages: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    text_field: str | None,
    unseen: tuple[str, ...],
) -> Loaded:
    corpus = f"home-assistant-intents {version('home-assistant-intents')}"
    parts, notes = [], [f"{corpus}: sentences are made from templates and split by template, never by sentence"]
    for language in languages:
        rows = intents.rows(language, seed)
        splits = {
            split: {
                "text": [row.text for row in rows if row.split == split],
                "label": [row.label for row in rows if row.split == split],
            }
            for split in SPLITS
        }
        present = {split: set(columns["label"]) for split, columns in splits.items()}
        if absent := [label for label in intents.LABELS if label not in present["train"]]:
            notes.append(f"{language}: the corpus has no {', '.join(absent)}")
        for split in ("dev", "test"):
            if absent := [label for label in intents.LABELS if label in present["train"] - present[split]]:
                notes.append(f"{language}: too few templates for a {split} set of {', '.join(absent)}")
        parts.append(Part(language, splits))
    return Loaded(intents.LABELS, parts, tuple(notes))


TASKS: dict[str, Source] = {
    "intents": Source(
        f"what a voice command asks for, {len(intents.LABELS)} labels, from an installed package",
        _intents_languages,
        _load_intents,
    ),
    **{
        name: Source(
            corpus.about, partial(loading.languages, corpus), partial(loading.load, corpus), tuple(corpus.fields)
        )
        for name, corpus in CORPORA.items()
    },
}


def available_languages(name: str, data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Return the languages of a task: those that a local folder has files of, else those on the hub.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    data_dir : path, optional
        See `load_task`.

    Raises
    ------
    FedPromptError
        If there is no such task, it does not take a `data_dir`, or the folder has none of its files.
    """
    check_choice("task", name, TASKS)
    return TASKS[name].languages(None if data_dir is None else Path(data_dir))


def check_text_field(name: str, text_field: str | None) -> None:
    """Check which text of a task's rows is asked for.

    Raises
    ------
    FedPromptError
        If the rows of the task have one text only, or none of that name.
    """
    check_choice("task", name, TASKS)
    fields = TASKS[name].fields
    if text_field is not None and not fields:
        having = ", ".join(task for task, source in TASKS.items() if source.fields)
        raise FedPromptError(
            f"text_field is {text_field!r}, but a row of task {name!r} has no choice of texts; leave it out, or take "
            f"one of the tasks {having}"
        )
    if text_field is not None:
        check_choice("text_field", text_field, fields)


def load_task(
    name: str,
    languages: Iterable[str] | None = None,
    *,
    unseen: Iterable[str] = (),
    seed: int = 0,
    train_size: int | None = None,
    dev_size: int | None = None,
    data_dir: str | Path | None = None,
    text_field: str | None = None,
) -> Task:
    """Load a task in some languages.

    A language's data depend on the other arguments alone: not on the other languages, their order, or the process.
    One exception: the labels of task ``tsv`` are those of all its languages together.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    languages : iterable of str, optional
        Language codes; all that the task has if left out.
    unseen : iterable of str
        Languages that are only tested: their train and dev splits are empty, need no files, and add no labels.
    seed : int
        Draws the order of the training examples, and the split where the corpus has none of its own.
    train_size : int, optional
        At most so many training examples a language, drawn by class in turn. A smaller set is a part of a
        larger one with the same seed.
    dev_size : int, optional
        At most so many dev examples a language, drawn at random.
    data_dir : path, optional
        Folder of the task's files, or of several tasks' files in folders of their own; see the notes below.
        Left out, it is the environment variable FEDPROMPT_DATA, and without that the Hugging Face hub.
    text_field : str, optional
        Which text of a row, one of ``TASKS[name].fields``; the first of them if left out.

    Returns
    -------
    Task

    Notes
    -----
    Files of a local mirror, in UTF-8: ``masakhanews/<language>/{train,dev,test}.tsv`` (columns ``category``,
    ``headline``, ``text``), ``xnli/<language>/{dev,test}.tsv`` (``label``, ``sentence1_<language>``,
    ``sentence2_<language>``, unquoted; ``train.tsv`` too if there is one), ``xglue/xglue.nc.<language>.dev`` (title,
    body, category, no header, unquoted), ``sib200/<language>/{train,dev,test}.tsv`` (``category``, ``text``). Your
    own, for task ``tsv``: ``<language>/{train,dev,test}.tsv`` with columns ``text``, ``label`` and optionally
    ``text_pair``, in any order. All are tab-separated. What is missing of train and dev is split off the other with
    the same mix of labels, texts that are the same (or sentence pairs with the same first sentence) staying
    together, and a note says so. Each XGLUE dev file is split into train, dev and test as Weller et al. (2022) do.

    Raises
    ------
    FedPromptError
        If the task, a language or the `text_field` is unknown, a language is given twice, `train_size` or `dev_size` is
        not positive, a file has a fault, or the hub cannot be reached or has other data than expected.
    """
    check_text_field(name, text_field)
    offered = available_languages(name, data_dir)
    if isinstance(languages, str):
        raise FedPromptError(f"languages must be a list of codes; write [{languages!r}], not {languages!r}")
    unseen = tuple(unseen)
    chosen = (offered if languages is None else tuple(languages)) + unseen
    for language in chosen:
        check_choice("language", language, offered)
    if not chosen:
        raise FedPromptError(f"no language given; choose some of: {', '.join(offered)}")
    if repeated := [language for language, times in Counter(chosen).items() if times > 1]:
        raise FedPromptError(f"language given twice: {', '.join(repeated)}; name each language once")
    for what, size in (("train_size", train_size), ("dev_size", dev_size)):
        if size is not None and size < 1:
            raise FedPromptError(f"{what} is {size}; it must be 1 or more, or None for all examples")

    loaded = TASKS[name].load(chosen, seed, None if data_dir is None else Path(data_dir), text_field, unseen)
    data, notes = {}, list(loaded.notes)
    for language, splits, remarks in loaded.parts:
        rng = random.Random(f"{name}-{seed}-{language}-classes")
        order = _by_class_in_turn(splits["train"]["label"], rng)
        train = {column: [values[i] for i in order[:train_size]] for column, values in splits["train"].items()}
        rng = random.Random(f"{name}-{seed}-{language}-dev")
        drawn = range(len(splits["dev"]["label"]))
        if dev_size is not None and dev_size < len(drawn):
            drawn = sorted(rng.sample(drawn, dev_size))
        dev = {column: [values[i] for i in drawn] for column, values in splits["dev"].items()}
        if language in unseen:
            train, dev = ({column: [] for column in values} for values in (train, dev))
        splits = splits | {"train": train, "dev": dev}
        data[language] = DatasetDict({split: _dataset(splits[split], loaded.labels) for split in SPLITS})
        notes += remarks
    if len(loaded.labels) < 2:
        raise FedPromptError(
            f"all training examples have the label {loaded.labels[0]!r}; a classifier needs at least two labels: add "
            "examples of another"
        )
    return Task(name, chosen, loaded.labels, data, tuple(notes))


def _by_class_in_turn(labels: list[str], rng: random.Random) -> list[int]:
    """Return the indices so that the first of each class come first, then the second of each, and so on."""
    rank: dict[str, int] = defaultdict(int)
    turn = []
    for label in labels:
        turn.append(rank[label])
        rank[label] += 1
    classes = rng.sample(sorted(rank), len(rank))
    place = {label: number for number, label in enumerate(classes)}
    return sorted(range(len(labels)), key=lambda i: (turn[i], place[labels[i]]))


def _dataset(columns: Columns, labels: tuple[str, ...]) -> Dataset:
    features = Features({column: Value("string") for column in columns} | {"label": ClassLabel(names=list(labels))})
    return Dataset.from_dict(columns, features=features)


def majority_accuracy(dataset: Dataset) -> tuple[int, float]:
    """Return the most frequent label of one split and its share: what always guessing it would score.

    Parameters
    ----------
    dataset : datasets.Dataset
        With an integer column ``label``.

    Returns
    -------
    label : int
        The smallest one of several that are equally frequent.
    share : float
        Between 0 and 1.

    Raises
    ------
    FedPromptError
        If `dataset` is empty.
    """
    counts = Counter(dataset["label"])
    if not counts:
        raise FedPromptError("the split is empty, so it has no majority class; load one with examples")
    label = min(counts, key=lambda value: (-counts[value], value))
    return label, counts[label] / len(dataset)
