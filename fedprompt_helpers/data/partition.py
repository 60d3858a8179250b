"""Who holds what: training examples dealt to clients by flwr-datasets partitioners (chapter 3)."""

import contextlib
import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from datasets import Dataset, concatenate_datasets
from flwr_datasets.partitioner import DirichletPartitioner, IidPartitioner, NaturalIdPartitioner

from ..checks import check_mapping
from ..config import SCHEMES
from ..errors import FedPromptError, check_choice
from .tasks import Task

MOST_CLIENTS = 100_000  # more than this are a mistake, and are refused before memory is asked for
Mapping = Sequence[Sequence[str]]  # for each client the languages that it holds


def partition(
    task: Task, scheme: str = "language", *, clients: int | None = None, alpha: float | None = None,
    mapping: Mapping | None = None, seed: int = 0,
) -> list[Dataset]:  # fmt: skip
    """Deal the training examples of a task, with a column ``language``, to clients; each goes to exactly one.

    Parameters
    ----------
    task : Task
        The task.
    scheme : str
        ``"language"``: one client a language, or several if `clients` is a multiple of the number of languages:
        then each language is shuffled and dealt evenly to its own. ``"mapping"``: `mapping` names the languages of
        each client, each language once. ``"iid"``: shuffled and dealt evenly. ``"dirichlet-label"``,
        ``"dirichlet-language"`` and ``"dirichlet-both"``: the examples are shuffled, then each class (language, class
        of a language) is cut at shares drawn from a symmetric Dirichlet distribution, the procedure of Yurochkin et
        al. (2019, arXiv:1905.12022) as ``flwr_datasets.partitioner.DirichletPartitioner`` has it. If a client gets
        nothing, all shares are drawn anew, at most ten times.
    clients : int, optional
        Number of clients; default: as many as languages.
    alpha : float, optional
        Dirichlet concentration, above 0. Small: a class sits with few clients. Large: evenly spread.
    seed : int
        Governs the order and the draw; 0 or more.
    """
    check_choice("partition", scheme, SCHEMES)
    groups = check_mapping(mapping, task.languages) if scheme == "mapping" else [[name] for name in task.languages]
    clients = len(groups) if clients is None else clients
    _check(task, scheme, clients, alpha, mapping, seed)
    if scheme in ("language", "mapping") and (
        clients % len(groups) or (scheme == "mapping" and clients != len(groups))
    ):
        what, rule = "groups", "each group of the mapping is one client; leave clients out"
        if scheme == "language":
            what, rule = "languages", "each has one client, or several; leave clients out, or take another partition"
        raise FedPromptError(f"{clients} clients for {len(groups)} {what}: {rule}")
    try:
        # Progress bars for milliseconds of work, and a warning at each new draw.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            parts = _deal(task, scheme, groups, clients, alpha, seed)
    except ValueError as error:
        what = f"{clients} clients at alpha {alpha} leave a client without examples"
        raise FedPromptError(f"{what}; raise alpha, use fewer clients, or take another seed") from error
    return [part.remove_columns([c for c in ("client", "both") if c in part.column_names]) for part in parts]


def _check(task: Task, scheme: str, clients: int, alpha: float | None, mapping: Mapping | None, seed: int) -> None:
    """Check what is asked for, before any row is copied."""
    if not isinstance(clients, int | np.integer) or clients < 1:
        raise FedPromptError(f"clients is {clients!r}; it must be a whole number of at least 1, for example 5")
    if seed < 0:
        raise FedPromptError(f"seed is {seed}; it must be 0 or more")
    dirichlet, given = scheme.startswith("dirichlet"), f"but the partition is {scheme!r}; leave it out or choose"
    if alpha is not None and not dirichlet:
        raise FedPromptError(f"alpha is {alpha}, {given} a Dirichlet one")
    if mapping and scheme != "mapping":
        raise FedPromptError(f"a mapping is given, {given} mapping")
    sizes = {language: len(task.data[language]["train"]) for language in task.languages}
    if clients > sum(sizes.values()):
        what = f"{clients} clients for {sum(sizes.values())} training examples"
        raise FedPromptError(f"{what}: some client would hold nothing; use fewer clients or more data")
    if clients > MOST_CLIENTS:
        raise FedPromptError(f"clients is {clients}; it must be at most {MOST_CLIENTS:,}: use fewer clients")
    if empty := [language for language, size in sizes.items() if not size]:
        raise FedPromptError(f"no training examples in {', '.join(empty)}: leave the language out of the task")
    if dirichlet and (not isinstance(alpha, int | float) or not 0 < alpha < math.inf):
        raise FedPromptError(f"alpha is {alpha!r}; a Dirichlet concentration must be above 0, for example 0.5")


def _deal(task: Task, scheme: str, groups: Mapping, clients: int, alpha: float | None, seed: int) -> list[Dataset]:
    natural, held = scheme in ("language", "mapping"), [(name, task.data[name]["train"]) for name in task.languages]
    dataset = concatenate_datasets([part.add_column("language", [name] * len(part)) for name, part in held])
    if clients != len(groups) or not natural:
        # The partitioners below cut runs of rows. The pooled rows come language by language: shuffle them first, or
        # a cut by label would be a cut by language too.
        dataset = dataset.select(np.random.default_rng([seed, 1]).permutation(len(dataset)))
    if natural:  # the rows of a language go to its client, or to its several by turns
        each = clients // len(groups)
        turns = {}
        for i, group in enumerate(groups):
            turns |= dict.fromkeys(group, cycle(range(i * each, (i + 1) * each)))
        dataset = dataset.add_column("client", [next(turns[name]) for name in dataset["language"][:]])
        partitioner = NaturalIdPartitioner(partition_by="client")
    elif scheme == "iid":
        partitioner = IidPartitioner(num_partitions=clients)
    else:
        column = scheme.removeprefix("dirichlet-")
        if column == "both":
            pairs = zip(dataset["language"][:], dataset["label"][:], strict=True)
            dataset = dataset.add_column(column, [f"{language} {label}" for language, label in pairs])
        partitioner = DirichletPartitioner(
            clients, partition_by=column, alpha=float(alpha or 0), min_partition_size=1, self_balancing=False, seed=seed
        )
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
