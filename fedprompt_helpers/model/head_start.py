"""Where the classification head starts: drawn at random, or made from class means that the clients add up."""

import numpy as np
import torch

from ..errors import FedPromptError
from . import training
from .training import Encoded

Arrays = dict[str, np.ndarray]

SPREAD = 0.5
"""Standard deviation of a feature when it reaches the head's tanh: small enough to stay near its straight part."""

SHARPNESS = 0.4
"""How much squared distance to a class mean, after the tanh, counts in the logits: a tenth of the ``1 / SPREAD**2``
that independent features would ask for, since features are anything but independent. Our value."""

UNKNOWN_HEAD = (
    "head_start='prototypes' knows the head of RoBERTa and XLM-RoBERTa only; leave it at 'random' for this backbone"
)


def statistics(model: torch.nn.Module, data: Encoded, num_labels: int) -> Arrays:
    """Add up a client's features by class, with the prompt as it is now.

    Parameters
    ----------
    model : torch.nn.Module
        From ``methods.prepare``. Its features are what its head reads: the last layer at position 0.
    data : Encoded
        The client's training examples.
    num_labels : int
        Number of classes.

    Returns
    -------
    dict of str to numpy.ndarray
        float32: ``sums`` of shape ``(classes, hidden)``, ``squares`` of shape ``(hidden,)``, over all classes, and
        ``counts`` of shape ``(classes,)``. The exchange is small, but it is not private: whoever holds a list of
        candidate texts can find the client's texts in it from these sums, and from the total of several clients too.

    Raises
    ------
    FedPromptError
        If the model has another head than RoBERTa's.
    """
    head, seen = getattr(model, "classifier", None), []
    if head is None:
        raise FedPromptError(UNKNOWN_HEAD)
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0].cpu().double()))
    sums, squares, counts = 0.0, 0.0, 0.0
    try:
        with torch.inference_mode():
            for batch in training.batches(data, 64, pad=training.pad_of(model), device=training.device_of(model)):
                model(**{key: value for key, value in batch.items() if key != "labels"})
                features = seen.pop()
                one_hot = torch.nn.functional.one_hot(batch["labels"].cpu(), num_labels).double()
                sums = sums + one_hot.T @ features
                squares = squares + features.square().sum(0)
                counts = counts + one_hot.sum(0)
    finally:
        hook.remove()
    return {
        name: x.numpy().astype(np.float32) for name, x in (("sums", sums), ("squares", squares), ("counts", counts))
    }


def add_up(parts: list[Arrays]) -> Arrays:
    """Add the statistics of several clients: the same as those of their pooled examples."""
    return {name: np.sum([part[name].astype(np.float64) for part in parts], axis=0) for name in parts[0]}


def prototype_head(names: list[str], total: Arrays) -> Arrays:
    """Make a head that gives an example to the class whose mean is nearest.

    Each feature is brought to mean 0 and the same spread; then the logit of class k is, up to a constant, ``log((n_k +
    1) / (n + classes))`` minus ``SHARPNESS / 2`` times the squared distance to the mean of class k. This is the
    nearest-class-mean head that Legate et al. (2023) start a federation from, written into a RoBERTa head: its first
    layer standardises, its second holds the class means.

    Parameters
    ----------
    names : list of str
        Names of the trained arrays of the model.
    total : dict of str to numpy.ndarray
        From ``statistics`` or ``add_up``.

    Returns
    -------
    dict of str to numpy.ndarray
        The arrays of the head, float32.

    Raises
    ------
    FedPromptError
        If the model has another head than RoBERTa's.
    """
    found = {
        part: [name for name in names if name.endswith(part)]
        for part in ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
    }
    if any(len(matches) != 1 for matches in found.values()):
        raise FedPromptError(UNKNOWN_HEAD)
    sums, counts = total["sums"].astype(np.float64), total["counts"].astype(np.float64)
    n, classes = counts.sum(), len(counts)
    mean = sums.sum(0) / n
    deviation = np.sqrt(np.maximum(total["squares"] / n - mean**2, 1e-8))
    class_means = sums / np.maximum(counts, 1)[:, None]
    prototypes = np.where(counts[:, None] > 0, np.tanh(SPREAD * (class_means - mean) / deviation), 0.0)
    made = {
        "dense.weight": np.diag(SPREAD / deviation),
        "dense.bias": -SPREAD * mean / deviation,
        "out_proj.weight": SHARPNESS * prototypes,
        "out_proj.bias": np.log((counts + 1) / (n + classes)) - SHARPNESS / 2 * (prototypes**2).sum(1),
    }
    return {found[part][0]: values.astype(np.float32) for part, values in made.items()}
