"""A task: train, dev and test sentences in several languages under one set of labels (chapter 1).

>>> task = load_task("intents", ["en", "cy"], train_size=48)
>>> task.data["cy"]["train"].column_names
['text', 'label']
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import RunConfig
from ..errors import FedPromptError, check_choice
from .corpora import CORPORA, SPLITS, corpus_of
from .draws import digest, drawn
from .loading import available_languages, download, find_folder, labels_of, local
from .own import odd_labels

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass
class Task:
    """What a client trains and is tested on: for each language the splits ``train``, ``dev`` and ``test``.

    Their columns are ``text`` (string) and ``label`` (`datasets.ClassLabel`), for sentence pairs also ``text_pair``; of
    other kinds than ``"text"`` the label is a string, see ``data.kinds``.
    Training examples come in drawn order, so the first n of them are what ``train_size=n`` gives.
    """

    name: str
    languages: tuple[str, ...]  # in the order asked for
    labels: tuple[str, ...]  # one label set for every language, in a fixed order
    data: dict[str, "DatasetDict"]
    label_sets: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the labels that each language's files have
    sources: dict[str, str] = field(default_factory=dict)  # for each language a digest of all its rows, drawn or not
    notes: tuple[str, ...] = ()  # what a user should know about the data
    kind: str = "text"


def task_labels(name: str) -> tuple[str, ...] | None:
    """Return the fixed labels of a task, or None for own data, whose labels are those of its training files."""
    return corpus_of(name).labels or None


def check_labels(labels: Sequence[str]) -> None:
    """Check that there is something to tell apart."""
    if len(set(labels)) < 2:
        what = f"all training examples have the label {labels[0]!r}; a classifier needs at least two labels"
        raise FedPromptError(f"{what}: add examples of another")


def check_languages(config: RunConfig, languages: Sequence[str] = ()) -> None:
    """Check, before anything is loaded, that the task has the text and the languages, by default all of them."""
    data, fields = config.data, corpus_of(config.data.task).fields
    if data.text_field is not None and not fields:
        having = ", ".join(task for task, corpus in CORPORA.items() if corpus.fields)
        what = f"text_field is {data.text_field!r}, but a row of task {data.task!r} has no choice of texts"
        raise FedPromptError(f"{what}; leave it out, or take one of the tasks {having}")
    if data.text_field is not None:
        check_choice("text_field", data.text_field, fields)
    if (kind := corpus_of(data.task).kind) != "text":
        chosen = (config.model.pooling, config.model.head_start, data.draw, data.partition.rpartition("-")[2])
        wrong = {"mean": "pooling", "prototypes": "head_start", "ridge": "head_start", "balanced": "draw"}
        wrong |= {"label": "partition", "both": "partition"}
        for value in (value for value in chosen if value in wrong):
            what = f"{wrong[value]} asks for {value!r}, but task {data.task!r} has no class for a whole text ({kind})"
            raise FedPromptError(f"{what}; leave {wrong[value]} out")
    named = {"columns": data.columns, "split_names": data.split_names, "quotes": data.quotes}
    available = available_languages(data.task, data.data_dir, **named)
    for language in languages or data.languages + data.unseen:
        check_choice("language", language, available)


def load_task(
    name: str, languages: Iterable[str] | None = None, *, unseen: Iterable[str] = (), seed: int = 0,
    label_budget: int | Sequence[int] | None = None, dev_share: float = 0.25, draw: str = "natural",
    train_size: int | None = None, dev_size: int | None = None, data_dir: str | Path | None = None,
    text_field: str | None = None, labels: Sequence[str] | None = None, **named: Any,
) -> Task:  # fmt: skip
    """Load a task in some languages; what one language gives does not depend on the others, but for own labels.

    Parameters
    ----------
    name : str
        One of ``CORPORA``; ``"own"`` are tables of yours. What is missing of train and dev is split off the other with
        the same mix of labels, and a note says so.
    languages, unseen : iterable of str
        Language codes, all that the task has if left out; and those that are only tested, without train and dev.
    seed : int
        Draws the training examples and their order, and the split where the corpus has none of its own.
    label_budget, dev_share, draw : int or sequence of int, float, str
        Labels a language in all, or of each language; a share of them is its dev split, the others train. Texts that
        are in dev or test too are not drawn. ``"natural"``: at random, so that classes have the shares of the corpus;
        ``"balanced"``: by class in turn. A smaller budget is a part of a larger one.
    train_size, dev_size : int, optional
        Without a budget, at most so many examples a language of the corpus's own splits: of train by class in turn, a
        smaller set being a part of a larger one with the same seed; of dev at random.
    data_dir : path, optional
        Folder of the task's files, or of several tasks' files in folders of their own. Left out, it is the
        environment variable FEDPROMPT_DATA, and without that the Hugging Face hub.
    text_field : str, optional
        Which text of a row, one of ``CORPORA[name].fields``; the first of them if left out.
    labels : sequence of str, optional
        For own data: the label set, where it is known from elsewhere, such as from all clients together.
    **named : str
        For own data: ``columns``, ``split_names`` and ``quotes``, as in ``RunConfig``.
    """
    if isinstance(languages, str):
        raise FedPromptError(f"languages must be a list of codes; write [{languages!r}], not {languages!r}")
    folder, unseen = None if data_dir is None else str(data_dir), tuple(unseen)
    if languages is None:
        languages = [x for x in available_languages(name, folder, **named) if x not in unseen]
    config = RunConfig(
        task=name, languages=languages, unseen=unseen, seed=seed, label_budget=label_budget, dev_share=dev_share,
        draw=draw, train_size=train_size, dev_size=dev_size, data_dir=folder, text_field=text_field, **named,
    )  # fmt: skip
    return load(config, labels=labels)


def load(config: RunConfig, languages: Sequence[str] = (), labels: Sequence[str] | None = None) -> Task:
    """Load the task of a configuration, or some of its languages alone; see ``load_task``."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    data, chosen = config.data, tuple(languages) or config.data.languages + config.data.unseen
    check_languages(config, chosen)
    corpus = CORPORA[data.task]
    folder, field = find_folder(corpus, data.data_dir), data.text_field or next(iter(corpus.fields), None)
    files, said = local(corpus, folder, config, chosen) if folder else ({}, {})
    known = corpus.labels or labels_of(files, data.unseen, labels, corpus.kind)
    if labels is not None and set(labels) != set(known):
        raise FedPromptError(f"labels are given, but task {data.task!r} has others of its own; leave them out")
    for table in [table for tables in files.values() for table in tables.values()]:
        table.check_labels(known, corpus.kind)
    source = "this package" if corpus.packaged else "local files" if folder else f"the hub, {corpus.hub}"
    source = f"{corpus.title}, from {source}{f'; text: {field}' if field else ''}"
    notes = (source, *(() if corpus.labels else odd_labels(known)))
    task = Task(data.task, chosen, known, {}, notes=notes, kind=corpus.kind)
    for language in chosen:  # one by one, to save memory
        tables = files.pop(language, {}).items()
        splits = {split: table.columns for split, table in tables} if folder else download(corpus, language)
        task.sources[language] = digest(language, splits)
        splits, task.label_sets[language], notes = drawn(corpus, config, language, splits, known)
        task.notes += tuple(f"{language}: {note}" for note in [*said.get(language, ()), *notes])
        features = Features({name: Value("string") for name in splits["test"]})
        features["label"] = ClassLabel(names=list(known)) if corpus.kind == "text" else Value("string")
        task.data[language] = DatasetDict({x: Dataset.from_dict(splits[x], features=features) for x in SPLITS})
    if labels is None:
        check_labels(known)
    return task


def majority_accuracy(dataset: "Dataset") -> tuple[int, float]:
    """Return the most frequent label of one split (the smallest of several) and its share: what guessing it scores."""
    counts = Counter(dataset["label"])
    if not counts:
        raise FedPromptError("the split is empty, so it has no majority class; load one with examples")
    label = min(counts, key=lambda value: (-counts[value], value))
    return label, counts[label] / len(dataset)
