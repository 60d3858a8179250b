"""Where the classification head starts: drawn at random, or made from class means that the clients add up."""

import numpy as np
import torch

from ..errors import FedPromptError
from .training import Encoded, batches

Arrays = dict[str, np.ndarray]

# Standard deviation of a feature when it reaches the head's tanh: small enough to stay near its straight part.
SPREAD = 0.5
# How much squared distance to a class mean, after the tanh, counts in the logits: a tenth of the 1 / SPREAD**2 that
# independent features would ask for, since features are anything but independent. Our value.
SHARPNESS = 0.4
# Of ridge regression: the penalty, near the best on dev from 16 labels a language to 256 (1 to 10), and what turns its
# scores, about 0 and 1, into logits. Our values.
PENALTY, SCALE = 3.0, 5.0
UNKNOWN = (
    "head_start='prototypes' knows the head of RoBERTa and XLM-RoBERTa and the linear one; 'ridge' the linear one "
    "alone: take pooling='mean', or leave head_start at 'random'"
)


def shapes(kind: str, labels: int, width: int) -> dict[str, tuple[int, ...]]:
    """Name what `statistics` sends for a start, and the shape of each array."""
    second = {"gram": (width, width)} if kind == "ridge" else {"squares": (width,)}
    return {"sums": (labels, width), "counts": (labels,), **second}


def statistics(model: torch.nn.Module, data: Encoded, num_labels: int, kind: str = "prototypes") -> Arrays:
    """Add up a client's features, what the head reads (last layer, position 0), by class, with the prompt as it is.

    Float32: ``sums`` (classes, hidden), ``counts`` (classes,), and over all classes ``squares`` (hidden,) or, for ridge
    regression, ``gram`` (hidden, hidden), the products of any two features. Small, but not private: whoever has a list
    of candidate texts can find the client's in these sums, and in those of several clients too.
    """
    head, seen = getattr(model, "classifier", None), []
    if head is None:
        raise FedPromptError(UNKNOWN)
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0].cpu().double()))
    total: dict = dict.fromkeys(shapes(kind, 0, 0), 0.0)
    try:
        with torch.inference_mode():
            for batch in batches(model, data):
                labels = torch.nn.functional.one_hot(batch.pop("labels").cpu(), num_labels).double()
                model(**batch)
                features = seen.pop()
                total["sums"] += labels.T @ features
                total["counts"] += labels.sum(0)
                if kind == "ridge":
                    total["gram"] += features.T @ features
                else:
                    total["squares"] += features.square().sum(0)
    finally:
        hook.remove()
    return {name: values.numpy().astype(np.float32) for name, values in total.items()}


def start_head(names: list[str], parts: list[Arrays]) -> Arrays:
    """Make the head's arrays (float32) from the clients' statistics; `names` are those of the trained arrays.

    From ``squares``, a head that gives an example to the class of the nearest mean (Legate et al. 2023): features are
    standardised, then the logit of class k is, up to a constant, ``log((n_k + 1) / (n + classes))`` minus ``SHARPNESS /
    2`` times the squared distance to its mean. From ``gram``, ridge regression on the classes (Fani et al. 2024).
    """
    total = {name: np.sum([part[name].astype(np.float64) for part in parts], axis=0) for name in parts[0]}
    sums, counts = total["sums"], total["counts"]
    n, classes, made = counts.sum(), len(counts), {}
    if "gram" in total:
        seen, width = sums.sum(0)[:, None], sums.shape[1]
        left = np.block([[total["gram"] + PENALTY * np.eye(width), seen], [seen.T, n]])
        weights = SCALE * np.linalg.solve(left, np.concatenate([sums.T, counts[None]]))
        made = {"out_proj.weight": weights[:-1].T, "out_proj.bias": weights[-1]}
    else:
        mean = sums.sum(0) / n
        deviation = np.sqrt(np.maximum(total["squares"] / n - mean**2, 1e-8))
        distances = SPREAD * (sums / np.maximum(counts, 1)[:, None] - mean) / deviation
        bend = np.tanh if any(name.endswith("dense.weight") for name in names) else np.asarray
        prototypes = np.where(counts[:, None] > 0, bend(distances), 0.0)
        first = {"dense.weight": np.diag(SPREAD / deviation), "dense.bias": -SPREAD * mean / deviation}
        weight, bias = SHARPNESS * prototypes, np.log((counts + 1) / (n + classes))
        bias -= SHARPNESS / 2 * (prototypes**2).sum(1)
        if bend is not np.tanh:  # one layer does what two did
            first, weight, bias = {}, weight @ first["dense.weight"], bias + weight @ first["dense.bias"]
        made = first | {"out_proj.weight": weight, "out_proj.bias": bias}
    found = {part: [name for name in names if name.endswith(part)] for part in made}
    if any(len(matches) != 1 for matches in found.values()) or (
        "gram" in total and any(name.endswith("dense.weight") for name in names)
    ):
        raise FedPromptError(UNKNOWN)
    return {found[part][0]: values.astype(np.float32) for part, values in made.items()}
