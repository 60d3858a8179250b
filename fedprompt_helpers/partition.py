"""Who holds what: training examples dealt to clients by flwr-datasets partitioners."""

import contextlib
import io

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
        ``"dirichlet-language"``: for each class (or language), shares drawn from a Dirichlet distribution (Hsu et
        al. 2019).
    clients : int, optional
        Number of clients; default: as many as languages.
    alpha : float, optional
        Dirichlet concentration, above 0. Small: a class sits with few clients. Large: evenly spread.
    seed : int
        Governs the draw.

    Returns
    -------
    list of datasets.Dataset
        One a client, with the task's columns and ``language``.

    Raises
    ------
    FedPromptError
        If the scheme is unknown, `alpha` is not above 0, or a client would hold nothing.
    """
    check_choice("partition", scheme, SCHEMES)
    clients = clients or len(task.languages)
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
        partitioner = NaturalIdPartitioner(partition_by="language")
    elif scheme == "iid":
        partitioner = IidPartitioner(num_partitions=clients)
        dataset = dataset.shuffle(seed=seed)
    else:
        if alpha is None or not alpha > 0:
            raise FedPromptError(f"alpha is {alpha}; a Dirichlet concentration must be above 0, for example 0.5")
        partitioner = DirichletPartitioner(
            num_partitions=clients,
            partition_by=scheme.removeprefix("dirichlet-"),
            alpha=alpha,
            min_partition_size=1,
            self_balancing=False,
            seed=seed,
        )
    partitioner.dataset = dataset
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for milliseconds of work
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
    if by == "label":
        return np.array([np.bincount(part["label"], minlength=len(task.labels)) for part in parts])
    return np.array([[list(part["language"]).count(name) for name in task.languages] for part in parts])
