"""Who holds what: training examples dealt to clients by flwr-datasets partitioners (chapter 4)."""

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from datasets import Dataset, concatenate_datasets
from flwr_datasets.partitioner import DirichletPartitioner, IidPartitioner, NaturalIdPartitioner

from ..config import RunConfig
from ..errors import MANY, FedPromptError, check_choice
from .tasks import Task


def partition(
    task: Task, scheme: str = "language", *, clients: int | None = None, alpha: float | None = None,
    mapping: Sequence[Sequence[str]] | None = None, seed: int = 0,
) -> list[Dataset]:  # fmt: skip
    """Deal the training examples of a task, with a column ``language``, to clients; each goes to exactly one.

    Parameters
    ----------
    task : Task
        The task.
    scheme : str
        ``"language"``: one client a language, or several if `clients` is a multiple of the number of languages, dealt
        evenly. ``"mapping"``: `mapping` names the languages of each client, each language once. ``"iid"``: dealt
        evenly. ``"dirichlet-label"``, ``"dirichlet-language"`` and ``"dirichlet-both"``: each class (language, class of
        a language) is cut at shares drawn from a symmetric Dirichlet distribution, as Yurochkin et al. (2019,
        arXiv:1905.12022) and ``flwr_datasets.partitioner.DirichletPartitioner`` do; if a client gets nothing, all
        shares are drawn anew, at most ten times. All but whole languages are shuffled first.
    clients : int, optional
        Number of clients; default: as many as languages.
    alpha : float, optional
        Dirichlet concentration, above 0. Small: a class sits with few clients. Large: evenly spread.
    seed : int
        Governs the order and the draw; 0 or more.
    """
    asked = {"partition": scheme, "clients": clients, "alpha": alpha, "mapping": mapping, "seed": seed}
    return deal(task, RunConfig(languages=task.languages, **asked))


def deal(task: Task, config: RunConfig) -> list[Dataset]:
    """Deal the training examples of a task as a configuration says; see ``partition``."""
    clients, alpha = config.clients, config.data.alpha
    sizes = {language: len(task.data[language]["train"]) for language in config.data.languages}
    if clients > sum(sizes.values()):
        what = f"{clients} clients for {sum(sizes.values())} training examples"
        raise FedPromptError(f"{what}: some client would hold nothing; use fewer clients or more data")
    if empty := [language for language, size in sizes.items() if not size]:
        raise FedPromptError(f"no training examples in {', '.join(empty)}: leave the language out of the task")
    try:
        # Progress bars for milliseconds of work, and a warning at each new draw.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            parts = _parts(task, config)
    except ValueError as error:
        empty = [str(i) for i, part in enumerate(_parts(task, config, at_least=0)) if not len(part)]
        named = ", ".join(empty[:MANY]) + ", ..." * (len(empty) > MANY)
        who = f"{clients} clients at alpha {alpha} leave {len(empty)} without examples: {named}"
        raise FedPromptError(f"{who}; raise alpha, use fewer clients, or take another seed") from error
    return [part.remove_columns([c for c in ("client", "both") if c in part.column_names]) for part in parts]


def _parts(task: Task, config: RunConfig, at_least: int = 1) -> list[Dataset]:
    scheme, groups, clients, seed = config.data.partition, config.client_languages, config.clients, config.seed
    natural = scheme in ("language", "mapping")
    held = [(name, task.data[name]["train"]) for name in config.data.languages]
    dataset = concatenate_datasets([part.add_column("language", [name] * len(part)) for name, part in held])
    if clients != len(groups) or not natural:
        # The partitioners below cut runs of rows. The pooled rows come language by language: shuffle them first, or
        # a cut by label would be a cut by language too.
        dataset = dataset.select(np.random.default_rng([seed, 1]).permutation(len(dataset)))
    if natural:  # the rows of a language go to its client, or to its several by turns
        each, turns = clients // len(groups), {}
        for i, group in enumerate(groups):
            turns |= dict.fromkeys(group, cycle(range(i * each, (i + 1) * each)))
        dataset = dataset.add_column("client", [next(turns[name]) for name in dataset["language"][:]])
        partitioner = NaturalIdPartitioner(partition_by="client")
    elif scheme == "iid":
        partitioner = IidPartitioner(num_partitions=clients)
    else:
        column, alpha = scheme.removeprefix("dirichlet-"), config.data.alpha or 0
        if column == "both":
            pairs = zip(dataset["language"][:], dataset["label"][:], strict=True)
            dataset = dataset.add_column(column, [f"{language} {label}" for language, label in pairs])
        partitioner = DirichletPartitioner(clients, column, alpha, at_least, self_balancing=False, seed=seed)
    partitioner.dataset = dataset
    parts = [partitioner.load_partition(i) for i in range(clients)]
    return sorted(parts, key=lambda part: part["client"][0]) if natural else parts


def counts(parts: list[Dataset], task: Task, by: str = "label") -> np.ndarray:
    """Count what each client holds, of each ``"label"`` or ``"language"`` of the task: int64, a row a client."""
    check_choice("column", by, ("label", "language"))
    names = range(len(task.labels)) if by == "label" else task.languages
    held = [Counter(part[by][:]) for part in parts]
    return np.array([[mine[name] for name in names] for mine in held], dtype=np.int64)


def mean_total_variation(table: np.ndarray) -> float:
    """Say in one number how far clients are from the whole: 0 if all hold the same mix, towards 1 if none is alike.

    The total variation distance of one client, a row of ``counts``, is half the sum of the absolute differences between
    its shares and those of all examples together: the share of its examples that would have to change.
    """
    table = np.asarray(table)
    sizes = table.sum(axis=1, keepdims=True)
    if not sizes.all():
        raise FedPromptError("a client holds no examples, so it has no shares; leave it out or partition again")
    whole = table.sum(axis=0) / table.sum()
    return float((abs(table / sizes - whole).sum(axis=1) / 2).mean())
