"""Who holds what: training examples dealt to clients by flwr-datasets partitioners."""

import contextlib
import io
import math
import warnings
from collections import Counter

import numpy as np
from datasets import Dataset, concatenate_datasets
from flwr_datasets.partitioner import DirichletPartitioner, IidPartitioner, NaturalIdPartitioner

from .errors import FedPromptError, check_choice
from .tasks import Task

SCHEMES = ("language", "iid", "dirichlet-label", "dirichlet-language")


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
    task: Task, scheme: str = "language", *, clients: int | None = None, alpha: float | None = None, seed: int = 0
) -> list[Dataset]:
    """Deal the training examples of a task to clients; each example goes to exactly one.

    Parameters
    ----------
    task : Task
        The task.
    scheme : str
        ``"language"``: one client a language. ``"iid"``: shuffled and dealt evenly. ``"dirichlet-label"`` and
        ``"dirichlet-language"``: the examples are shuffled, then each class (or language) is cut at shares drawn
        from a symmetric Dirichlet distribution, the procedure of Yurochkin et al. (2019, arXiv:1905.12022) as
        ``flwr_datasets.partitioner.DirichletPartitioner`` has it. If a client gets nothing, all shares are drawn
        anew, at most ten times.
    clients : int, optional
        Number of clients; default: as many as languages.
    alpha : float, optional
        Dirichlet concentration, above 0. Small: a class sits with few clients. Large: evenly spread.
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
    clients = len(task.languages) if clients is None else clients
    if not isinstance(clients, int | np.integer) or clients < 1:
        raise FedPromptError(f"clients is {clients!r}; it must be a whole number of at least 1, for example 5")
    if seed < 0:
        raise FedPromptError(f"seed is {seed}; it must be 0 or more")
    dataset = pool(task)
    if clients > len(dataset):
        raise FedPromptError(
            f"{clients} clients for {len(dataset)} training examples: some client would hold nothing; "
            "use fewer clients or more data"
        )
    if scheme == "language":
        if clients != len(task.languages):
            raise FedPromptError(
                f"{clients} clients for {len(task.languages)} languages: by language there is one client each; "
                "leave clients out or choose another partition"
            )
        if empty := [language for language in task.languages if not len(task.data[language]["train"])]:
            raise FedPromptError(f"no training examples in {', '.join(empty)}: leave the language out of the task")
        partitioner = NaturalIdPartitioner(partition_by="language")
    else:
        # Both partitioners below cut runs of rows. The pooled rows come language by language: shuffle them first,
        # or a cut by label would be a cut by language too.
        dataset = dataset.select(np.random.default_rng([seed, 1]).permutation(len(dataset)))
    if scheme == "iid":
        partitioner = IidPartitioner(num_partitions=clients)
    elif scheme != "language":
        if not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
            raise FedPromptError(f"alpha is {alpha!r}; a Dirichlet concentration must be above 0, for example 0.5")
        partitioner = DirichletPartitioner(
            num_partitions=clients,
            partition_by=scheme.removeprefix("dirichlet-"),
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
    if scheme == "language":
        names = {part["language"][0]: part for part in parts}
        parts = [names[language] for language in task.languages]
    return parts


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
