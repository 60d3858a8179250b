"""How the trained parameters are trained and scored: the loop of chapter 2; what they are is in ``methods``."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..config import CHOICES
from ..errors import FedPromptError, check_choice
from .kinds import Encoded, encode_kind, kind_loss, output_of, scores_of, targets_in, targets_of
from .kinds import join as join


class Scores(NamedTuple):
    """What an evaluation measures, see ``kinds.scores_of``; loss is the mean cross-entropy in nats."""

    loss: float
    accuracy: float
    macro_f1: float
    examples: int


def get_arrays(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copy out what is trained (chapter 2), the only arrays that a client sends: parameter names to float32 values."""
    return {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters() if p.requires_grad}


def set_arrays(model: torch.nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays from ``get_arrays`` into a model (chapter 2); other names or shapes are a FedPromptError."""
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if wrong := set(own) ^ set(arrays) or {n for n in own if tuple(own[n].shape) != np.shape(arrays[n])}:
        what = f"these arrays belong to another model (differs: {sorted(wrong)[0]})"
        raise FedPromptError(f"{what}; use the same backbone, method and number of labels everywhere")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.asarray(arrays[name])))


def encode(split, tokenizer, *, max_length: int = 64, kind: str = "text", labels: Sequence[str] = ()) -> Encoded:
    """Tokenise a split once, cutting texts (or pairs) to `max_length` tokens; chapter 2 does it batch by batch.

    `split` is a ``datasets.Dataset`` of columns ``text``, ``label`` and, for pairs of sentences, ``text_pair``. Of the
    other kinds of task (chapter 14), ``"tokens"`` needs the tags as `labels`, contexts of ``"span"`` become windows.
    """
    return encode_kind(kind, split, tokenizer, max_length, labels)


def batches(
    model: torch.nn.Module, data: Encoded, batch_size: int = 64, rng: np.random.Generator | None = None
) -> Iterator[dict[str, torch.Tensor]]:
    """Cut a split into batches of texts of similar length, so that little padding is computed; int64, on its device.

    With `rng`, for training, examples are shuffled, sorted by length within stretches of 16 batches, and the batches
    shuffled again. Without it all are sorted by length. ``input_ids`` and ``attention_mask`` are ``(batch, longest)``.
    """
    lengths, order = np.array([len(ids) for ids in data.token_ids]), longest_first(data)
    pad = getattr(model.config, "pad_token_id", None) or 0  # any will do: padding is masked
    if rng is not None:
        parts = np.split(rng.permutation(len(lengths)), range(16 * batch_size, len(lengths), 16 * batch_size))
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for i in range(len(chunks)) if rng is None else rng.permutation(len(chunks)):
        chunk = chunks[i]
        mask = np.arange(lengths[chunk].max()) < lengths[chunk, None]
        input_ids = np.full(mask.shape, pad, dtype=np.int64)
        input_ids[mask] = np.concatenate([data.token_ids[i] for i in chunk])  # row by row
        batch = {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}
        batch["labels"] = targets_of(data, chunk, mask.shape[1])
        yield {name: torch.from_numpy(values).to(model.device) for name, values in batch.items()}


def evaluate(model: torch.nn.Module, data: Encoded, *, batch_size: int = 64) -> Scores:
    """Score a model on one split from ``encode``, by hand in chapter 2; an empty split is a FedPromptError."""
    found = scores_of(data, *predict(model, data, batch_size=batch_size))
    return Scores(*(found[name] for name in Scores._fields))


def predict(model: torch.nn.Module, data: Encoded, *, batch_size: int = 64) -> tuple[Any, float]:
    """Return the logits of a split in its order, and the mean cross-entropy in nats.

    Of texts they are float32 ``(examples, labels)``; else a list of float32 ``(padded tokens, labels)``.
    """
    if not len(data.labels):
        raise FedPromptError("nothing to evaluate: the split is empty; give it at least one example")
    model.eval()
    loss, logits = 0.0, []
    with torch.inference_mode():
        for batch in batches(model, data, batch_size):
            labels = batch.pop("labels")
            output = output_of(data.kind, model, batch).float()
            logits.extend(output.cpu().numpy())
            loss += kind_loss(data.kind, output, batch, labels, "sum").item()
    back = np.argsort(longest_first(data))
    ordered = [logits[i] for i in back]
    return np.stack(ordered) if data.kind == "text" else ordered, loss / targets_in(data)


def test_scores(model: torch.nn.Module, data: Encoded, own_labels: list[int]) -> dict:
    """Score a test split; of texts, also with labels forbidden that the language does not have, and the guesses."""
    logits, loss = predict(model, data)
    scores = scores_of(data, logits, loss)
    if data.kind != "text":
        return scores
    allowed = np.full(logits.shape[1], -np.inf, np.float32)
    allowed[own_labels] = 0
    guesses, own = logits.argmax(1), (logits + allowed).argmax(1)
    restricted = scores_of(data, logits + allowed, loss)
    scores |= {"own_accuracy": restricted["accuracy"], "own_macro_f1": restricted["macro_f1"]}
    lists = {"truth": data.labels.tolist(), "guesses": guesses.tolist(), "own_guesses": own.tolist()}
    return scores | lists


def longest_first(data: Encoded) -> np.ndarray:
    """Return the order in which a split is scored: what the longest batch frees fits all that follow."""
    return np.argsort([-len(ids) for ids in data.token_ids], kind="stable")


def goodness(scores: Scores, best_by: str) -> float:
    """Say how good a dev split's scores are: the loss turned round, or macro-F1."""
    check_choice("best_by", best_by, CHOICES["best_by"])
    return -scores.loss if best_by == "loss" else scores.macro_f1


def train(
    model: torch.nn.Module, data: Encoded, dev: Encoded | None = None, *, epochs: int, learning_rate: float = 1e-3,
    batch_size: int = 16, patience: int | None = 5, seed: int = 0, proximal_mu: float = 0.0, best_by: str = "loss",
    on_epoch: Callable[[dict], None] | None = None,
) -> list[dict]:  # fmt: skip
    """Train what is trainable, in place: the loop of chapter 2, dropout off, so that the backbone stays one function.

    AdamW at 1e-3 and early stopping with a patience of 5 epochs are the paper's (arXiv 2507.03003, section 5.1). No
    examples, a value out of range and a loss that is not finite are FedPromptErrors.

    Parameters
    ----------
    model, data, dev : torch.nn.Module, Encoded, Encoded
        From ``prepare`` and ``encode``. Kept is the epoch that is best on `dev` by `best_by`, ``"loss"`` or
        ``"macro-f1"``; without `dev` the last one.
    epochs, batch_size, seed : int
        Epochs at most, examples a step (both at least 1), and what governs the order of the examples.
    patience, on_epoch : int or None, callable or None
        Stop after this many epochs without a better one (None: never); what is called with each epoch's entry.
    learning_rate, proximal_mu : float
        AdamW's, above 0; weight of FedProx's term, mu / 2 times the squared distance from the start (Li et al. 2020,
        equation 2).

    Returns
    -------
    list of dict
        One entry an epoch: ``epoch``, ``train_loss``, ``seconds``, and with `dev` ``dev_loss``, ``dev_accuracy``.
    """
    if not len(data.labels):
        raise FedPromptError("nothing to train on: the training split is empty; give it at least one example")
    if epochs < 1 or batch_size < 1 or learning_rate <= 0:
        given = f"epochs={epochs}, batch_size={batch_size}, learning_rate={learning_rate}"
        raise FedPromptError(f"{given}; epochs and batch_size must be at least 1 and learning_rate above 0")
    rng = np.random.default_rng(seed)
    trained = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained] if proximal_mu else []
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, fused=trained[0].device.type != "mps")
    history, best, most, best_epoch = [], None, -math.inf, 0
    model.eval()
    for epoch in range(1, epochs + 1):
        began, total = time.perf_counter(), 0.0
        for batch in batches(model, data, batch_size, rng):
            labels = batch.pop("labels")
            loss = kind_loss(data.kind, output_of(data.kind, model, batch), batch, labels, "mean")
            total += loss.item() * len(labels)
            for parameter, origin in zip(trained, start, strict=False):
                loss = loss + proximal_mu / 2 * (parameter - origin).square().sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if not math.isfinite(total):
            raise FedPromptError(f"the training loss became {total} in epoch {epoch}; lower the learning rate")
        entry = {"epoch": epoch, "train_loss": total / len(data.labels)}
        if dev is not None:
            scores = evaluate(model, dev)
            entry |= {"dev_loss": scores.loss, "dev_accuracy": scores.accuracy}
            entry |= {"dev_macro_f1": scores.macro_f1} if best_by == "macro-f1" else {}
            found = goodness(scores, best_by)
        history.append(entry | {"seconds": time.perf_counter() - began})
        if on_epoch:
            on_epoch(history[-1])
        if dev is not None and found > most:
            best, most, best_epoch = get_arrays(model), found, epoch
        elif dev is not None and patience is not None and epoch - best_epoch >= patience:
            break
    if best is not None:
        set_arrays(model, best)
    return history
