"""An average of its own for every client, in which clients of near languages weigh more than those of distant ones."""

import numpy as np

from .distance import language_distance
from .updates import Arrays

Groups = tuple[tuple[str, ...], ...]


def weights_by_distance(groups: Groups, examples: list[int], scale: float) -> np.ndarray:
    r"""Give the weights with which each client averages all clients.

    Client k gives client j the weight :math:`n_j \exp(-d_{kj} / s)`, divided by the sum over j. FedAvg's weight
    :math:`n_j` (McMahan et al. 2017) is what is left when the scale s is large; when it is small, each client keeps
    what it trained itself. The exponential is our choice.

    Parameters
    ----------
    groups : tuple of tuples of str
        The languages of each client. Two clients are as far apart as their languages are on average.
    examples : list of int
        Training examples of each client.
    scale : float
        The URIEL distance at which a weight has fallen to 1/e, about a third.

    Returns
    -------
    numpy.ndarray
        float64, clients x clients; each row adds up to 1.

    Raises
    ------
    FedPromptError
        If URIEL does not have a language.
    """
    distances = np.array(
        [[0.0 if mine is other else _mean_between(mine, other) for other in groups] for mine in groups]
    )
    raw = np.asarray(examples, dtype=np.float64) * np.exp(-distances / scale)
    return raw / raw.sum(axis=1, keepdims=True)


def average_for_each(updates: list[Arrays], weights: np.ndarray) -> list[Arrays]:
    """Average the clients once for each row of weights.

    Parameters
    ----------
    updates : list of dict of str to numpy.ndarray
        The trained arrays of each client.
    weights : numpy.ndarray
        Rows by clients, each row adding up to 1.

    Returns
    -------
    list of dict of str to numpy.ndarray
        float32, one for each row.
    """
    return [
        {
            name: sum(weight * update[name] for weight, update in zip(row, updates, strict=True)).astype(np.float32)
            for name in updates[0]
        }
        for row in weights
    ]


def _mean_between(mine: tuple[str, ...], other: tuple[str, ...]) -> float:
    return float(np.mean([language_distance(a, b) for a in mine for b in other]))
