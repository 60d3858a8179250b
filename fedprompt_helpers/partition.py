"""Who holds what: training examples dealt to clients by flwr-datasets partitioners."""

import contextlib
import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from datasets import Dataset, concatenate_datasets
from flwr_datasets.partitioner import DirichletPartitioner, IidPartitioner, NaturalIdPartitioner

from .errors import FedPromptError, check_choice
from .tasks import Task

SCHEMES = ("language", "mapping", "iid", "dirichlet-label", "dirichlet-language", "dirichlet-both")


def pool(task: Task, split: str = "train") -> Dataset:
    """Put one split of all languages together, with a column ``language``.

    Returns
    -------
    datasets.Dataset
        Columns of the task and ``language`` (string), languages in the task's order.
    """
    parts = []
    for language in task.languages:
        part = task.data[language][split]
        parts.append(part.add_column("language", [language] * len(part)))
    return concatenate_datasets(parts)


def partition(
    task: Task,
    scheme: str = "language",
    *,
    clients: int | None = None,
    alpha: float | None = None,
    mapping: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
) -> list[Dataset]:
    """Deal the training examples of a task to clients; each example goes to exactly one.

    Parameters
    ----------
    task : Task
        The task.
    scheme : str
        ``"language"``: one client a language, or several if `clients` is a multiple of the number of languages:
        then each language is shuffled and dealt evenly to its own. ``"mapping"``: `mapping` names the languages of
        each client. ``"iid"``: shuffled and dealt evenly. ``"dirichlet-label"``, ``"dirichlet-language"`` and
        ``"dirichlet-both"``: the examples are shuffled, then each class (language, class of a language) is cut at
        shares drawn from a symmetric Dirichlet distribution, the procedure of Yurochkin et al. (2019,
        arXiv:1905.12022) as ``flwr_datasets.partitioner.DirichletPartitioner`` has it. If a client gets nothing, all
        shares are drawn anew, at most ten times.
    clients : int, optional
        Number of clients; default: as many as languages.
    alpha : float, optional
        Dirichlet concentration, above 0. Small: a class sits with few clients. Large: evenly spread.
    mapping : sequence of sequences of str, optional
        For ``"mapping"``: the languages of client 0, of client 1, and so on; each language once.
    seed : int
        Governs the order and the draw; 0 or more.

    Returns
    -------
    list of datasets.Dataset
        One a client, with the task's columns and ``language``.

    Raises
    ------
    FedPromptError
        If the scheme is unknown, `alpha` is not above 0, `clients` does not fit, `seed` is negative, or a client
        would hold nothing.
    """
    check_choice("partition", scheme, SCHEMES)
    groups = check_mapping(mapping, task.languages) if scheme == "mapping" else [[name] for name in task.languages]
    clients = len(groups) if clients is None else clients
    if not isinstance(clients, int | np.integer) or clients < 1:
        raise FedPromptError(f"clients is {clients!r}; it must be a whole number of at least 1, for example 5")
    if seed < 0:
        raise FedPromptError(f"seed is {seed}; it must be 0 or more")
    if alpha is not None and not scheme.startswith("dirichlet"):
        raise FedPromptError(
            f"alpha is {alpha}, but the partition is {scheme!r}; leave it out or choose a Dirichlet one"
        )
    if mapping and scheme != "mapping":
        raise FedPromptError(f"a mapping is given, but the partition is {scheme!r}; leave it out or choose mapping")
    dataset = pool(task)
    if clients > len(dataset):
        raise FedPromptError(
            f"{clients} clients for {len(dataset)} training examples: some client would hold nothing; "
            "use fewer clients or more data"
        )
    if empty := [language for language in task.languages if not len(task.data[language]["train"])]:
        raise FedPromptError(f"no training examples in {', '.join(empty)}: leave the language out of the task")
    if clients != len(groups) or scheme not in ("language", "mapping"):
        # The partitioners below cut runs of rows. The pooled rows come language by language: shuffle them first, or
        # a cut by label would be a cut by language too.
        dataset = dataset.select(np.random.default_rng([seed, 1]).permutation(len(dataset)))
    if scheme in ("language", "mapping"):
        if clients % len(groups) or (scheme == "mapping" and clients != len(groups)):
            what, rule = "groups", "each group of the mapping is one client; leave clients out"
            if scheme == "language":
                what, rule = (
                    "languages",
                    "each has one client, or several; leave clients out, or take another partition",
                )
            raise FedPromptError(f"{clients} clients for {len(groups)} {what}: {rule}")
        dataset = _with_column(dataset, "client", _holders(dataset["language"][:], groups, clients // len(groups)))
        partitioner = NaturalIdPartitioner(partition_by="client")
    if scheme == "iid":
        partitioner = IidPartitioner(num_partitions=clients)
    elif scheme.startswith("dirichlet"):
        if not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
            raise FedPromptError(f"alpha is {alpha!r}; a Dirichlet concentration must be above 0, for example 0.5")
        column = scheme.removeprefix("dirichlet-")
        if column == "both":
            pairs = zip(dataset["language"][:], dataset["label"][:], strict=True)
            dataset = _with_column(dataset, column, [f"{language} {label}" for language, label in pairs])
        partitioner = DirichletPartitioner(
            num_partitions=clients,
            partition_by=column,
            alpha=float(alpha),
            min_partition_size=1,
            self_balancing=False,
            seed=seed,
        )
    partitioner.dataset = dataset
    try:
        # A progress bar for milliseconds of work, and a warning at each new draw.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            parts = [partitioner.load_partition(i) for i in range(clients)]
    except ValueError as error:
        raise FedPromptError(
            f"{clients} clients at alpha {alpha} leave a client without examples; raise alpha, "
            "use fewer clients, or take another seed"
        ) from error
    if "client" in dataset.column_names:
        parts.sort(key=lambda part: part["client"][0])
    return [part.remove_columns([c for c in ("client", "both") if c in part.column_names]) for part in parts]


def check_mapping(mapping: Sequence[Sequence[str]] | None, languages: Sequence[str]) -> list[list[str]]:
    """Return a mapping of clients to languages as lists, if it names each language just once.

    Raises
    ------
    FedPromptError
        If it is missing, or a language is missing, repeated or unknown.
    """
    if not mapping:
        raise FedPromptError("the partition 'mapping' needs a mapping: for each client, the languages that it holds")
    named = Counter(name for group in mapping for name in group)
    for name in named:
        check_choice("language in the mapping", name, languages)
    wrong = [name for name in languages if named[name] != 1]
    if wrong or not all(mapping):
        what = f"names {wrong[0]} {named[wrong[0]]} times" if wrong else "has a client without a language"
        raise FedPromptError(f"the mapping {what}; name each language once, and at least one for each client")
    return [list(group) for group in mapping]


def _with_column(dataset: Dataset, name: str, values: list) -> Dataset:
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for milliseconds of work
        return dataset.add_column(name, values)


def _holders(languages: list[str], groups: list[list[str]], each: int) -> list[int]:
    """Number the client of each row: its group's, or its group's several by turns."""
    group_of = {name: i for i, group in enumerate(groups) for name in group}
    seen: Counter = Counter()
    holders = []
    for language in languages:
        group = group_of[language]
        holders.append(group * each + seen[group] % each)
        seen[group] += 1
    return holders


def counts(parts: list[Dataset], task: Task, by: str = "label") -> np.ndarray:
    """Count what each client holds.

    Parameters
    ----------
    parts : list of datasets.Dataset
        From ``partition``.
    task : Task
        The task, for the order of labels and languages.
    by : str
        ``"label"`` or ``"language"``.

    Returns
    -------
    numpy.ndarray
        Shape ``(clients, labels)`` or ``(clients, languages)``, int64.
    """
    check_choice("column", by, ("label", "language"))
    names = range(len(task.labels)) if by == "label" else task.languages
    held = [Counter(part[by][:]) for part in parts]
    return np.array([[mine[name] for name in names] for mine in held], dtype=np.int64)


def mean_total_variation(table: np.ndarray) -> float:
    """Say in one number how far clients are from the whole: 0 if all hold the same mix, towards 1 if none is alike.

    The total variation distance of one client is half the sum of the absolute differences between its shares and
    the shares of all examples together: the share of its examples that would have to change. The mean is over
    clients, each counting once.

    Parameters
    ----------
    table : numpy.ndarray
        Shape ``(clients, columns)``, numbers of examples, from ``counts``.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    FedPromptError
        If a client holds nothing.
    """
    table = np.asarray(table)
    sizes = table.sum(axis=1, keepdims=True)
    if not sizes.all():
        raise FedPromptError("a client holds no examples, so it has no shares; leave it out or partition again")
    whole = table.sum(axis=0) / table.sum()
    return float((abs(table / sizes - whole).sum(axis=1) / 2).mean())
