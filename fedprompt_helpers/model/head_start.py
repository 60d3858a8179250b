"""Where the classification head starts: drawn at random, or made from class means that the clients add up."""

import numpy as np
import torch

from ..errors import FedPromptError
from .training import Encoded, batches_for

Arrays = dict[str, np.ndarray]

# Standard deviation of a feature when it reaches the head's tanh: small enough to stay near its straight part.
SPREAD = 0.5
# How much squared distance to a class mean, after the tanh, counts in the logits: a tenth of the 1 / SPREAD**2 that
# independent features would ask for, since features are anything but independent. Our value.
SHARPNESS = 0.4
UNKNOWN = (
    "head_start='prototypes' knows the head of RoBERTa and XLM-RoBERTa only; leave it at 'random' for this backbone"
)


def statistics(model: torch.nn.Module, data: Encoded, num_labels: int) -> Arrays:
    """Add up a client's features, what the head reads (last layer, position 0), by class, with the prompt as it is.

    Float32: ``sums`` (classes, hidden), ``squares`` (hidden,) over all classes, ``counts`` (classes,). Small, but not
    private: whoever has a list of candidate texts can find the client's in these sums, and in those of several too.
    """
    head, seen = getattr(model, "classifier", None), []
    if head is None:
        raise FedPromptError(UNKNOWN)
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0].cpu().double()))
    total = {"sums": 0.0, "squares": 0.0, "counts": 0.0}
    try:
        with torch.inference_mode():
            for batch in batches_for(model, data):
                labels = torch.nn.functional.one_hot(batch.pop("labels").cpu(), num_labels).double()
                model(**batch)
                features = seen.pop()
                total["sums"] += labels.T @ features
                total["squares"] += features.square().sum(0)
                total["counts"] += labels.sum(0)
    finally:
        hook.remove()
    return {name: values.numpy().astype(np.float32) for name, values in total.items()}


def add_up(parts: list[Arrays]) -> Arrays:
    """Add the statistics of several clients: the same as those of their pooled examples."""
    return {name: np.sum([part[name].astype(np.float64) for part in parts], axis=0) for name in parts[0]}


def prototype_head(names: list[str], total: Arrays) -> Arrays:
    """Make the head's arrays (float32) from statistics, so that it gives an example to the class of the nearest mean.

    `names` are those of the trained arrays. The first layer standardises; then the logit of class k is, up to a
    constant, ``log((n_k + 1) / (n + classes))`` minus ``SHARPNESS / 2`` times the squared distance to its mean. This
    is the nearest-class-mean head that Legate et al. (2023) start a federation from, written into a RoBERTa head.
    """
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
    found = {part: [name for name in names if name.endswith(part)] for part in made}
    if any(len(matches) != 1 for matches in found.values()):
        raise FedPromptError(UNKNOWN)
    return {found[part][0]: values.astype(np.float32) for part, values in made.items()}
