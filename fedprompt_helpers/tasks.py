"""A task: train, dev and test sentences in several languages under one set of labels.

>>> task = load_task("intents", ["en", "cy"], train_size=48)
>>> task.data["cy"]["train"].column_names
['text', 'label']
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from fedprompt_helpers import intents
from fedprompt_helpers.errors import FedPromptError, check_choice

SPLITS = ("train", "dev", "test")
Columns = dict[str, list]  # "text" and "label" (a label's name), optionally "text_pair"


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


class Loaded(NamedTuple):
    """What a loader hands to `load_task`; the rows of a class come in the order to draw them."""

    labels: tuple[str, ...]
    splits: dict[str, dict[str, Columns]]  # language -> split -> columns
    notes: tuple[str, ...]


class Source(NamedTuple):
    """How to get one task: which languages there are, and their rows."""

    languages: Callable[[Path | None], tuple[str, ...]]
    load: Callable[[tuple[str, ...], int, Path | None], Loaded]


def _intents_languages(data_dir: Path | None) -> tuple[str, ...]:
    if data_dir is not None:
        raise FedPromptError(
            "task 'intents' comes from the installed package home-assistant-intents, "
            f"not from {str(data_dir)!r}; leave data_dir out"
        )
    return intents.languages()


def _load_intents(languages: tuple[str, ...], seed: int, data_dir: Path | None) -> Loaded:
    corpus = f"home-assistant-intents {version('home-assistant-intents')}"
    splits, notes = {}, [f"{corpus}: sentences are made from templates and split by template, never by sentence"]
    for language in languages:
        rows = intents.rows(language, seed)
        splits[language] = {
            split: {
                "text": [row.text for row in rows if row.split == split],
                "label": [row.label for row in rows if row.split == split],
            }
            for split in SPLITS
        }
        present = {split: set(columns["label"]) for split, columns in splits[language].items()}
        if absent := [label for label in intents.LABELS if label not in present["train"]]:
            notes.append(f"{language}: the corpus has no {', '.join(absent)}")
        for split in ("dev", "test"):
            if absent := [label for label in intents.LABELS if label in present["train"] - present[split]]:
                notes.append(f"{language}: too few templates for a {split} set of {', '.join(absent)}")
    return Loaded(intents.LABELS, splits, tuple(notes))


TASKS: dict[str, Source] = {"intents": Source(_intents_languages, _load_intents)}


def available_languages(name: str, data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Return the languages of a task.

    Raises
    ------
    FedPromptError
        If there is no such task, or it does not take a `data_dir`.
    """
    check_choice("task", name, TASKS)
    return TASKS[name].languages(None if data_dir is None else Path(data_dir))


def load_task(
    name: str,
    languages: Iterable[str] | None = None,
    *,
    seed: int = 0,
    train_size: int | None = None,
    data_dir: str | Path | None = None,
) -> Task:
    """Load a task in some languages.

    A language's data depend on `name`, `seed` and `train_size` alone: not on the other languages, their
    order, or the process.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    languages : iterable of str, optional
        Language codes; all that the task has if left out.
    seed : int
        Draws the split and the order of the training examples.
    train_size : int, optional
        At most so many training examples a language, drawn by class in turn. A smaller set is a part of a
        larger one with the same seed.
    data_dir : path, optional
        Folder of the task's files, for tasks that are read from files.

    Returns
    -------
    Task

    Raises
    ------
    FedPromptError
        If the task or a language is unknown, a language is given twice, or `train_size` is not positive.
    """
    offered = available_languages(name, data_dir)
    if isinstance(languages, str):
        raise FedPromptError(f"languages must be a list of codes; write [{languages!r}], not {languages!r}")
    chosen = offered if languages is None else tuple(languages)
    for language in chosen:
        check_choice("language", language, offered)
    if not chosen:
        raise FedPromptError(f"no language given; choose some of: {', '.join(offered)}")
    if repeated := [language for language, times in Counter(chosen).items() if times > 1]:
        raise FedPromptError(f"language given twice: {', '.join(repeated)}; name each language once")
    if train_size is not None and train_size < 1:
        raise FedPromptError(f"train_size is {train_size}; it must be 1 or more, or None for all examples")

    loaded = TASKS[name].load(chosen, seed, None if data_dir is None else Path(data_dir))
    data = {}
    for language in chosen:
        splits = dict(loaded.splits[language])
        rng = random.Random(f"{name}-{seed}-{language}-classes")
        order = _by_class_in_turn(splits["train"]["label"], rng)
        splits["train"] = {
            column: [values[i] for i in order[:train_size]] for column, values in splits["train"].items()
        }
        data[language] = DatasetDict({split: _dataset(splits[split], loaded.labels) for split in SPLITS})
    return Task(name, chosen, loaded.labels, data, loaded.notes)


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
