"""How the trained parameters are trained and scored: the loop of chapter 2; what they are is in ``methods``."""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import f1_score

from ..errors import FedPromptError


class Encoded(NamedTuple):
    """A split, tokenised once: a list of token id lists (no padding), and labels of shape ``(examples,)``, int64."""

    token_ids: list[list[int]]
    labels: np.ndarray


class Scores(NamedTuple):
    """What an evaluation measures; loss is the mean cross-entropy in nats."""

    loss: float
    accuracy: float
    macro_f1: float
    examples: int


def get_arrays(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copy out what is trained: the only arrays that a client sends.

    Returns
    -------
    dict of str to numpy.ndarray
        Parameter name to values, float32.
    """
    return {
        name: parameter.detach().cpu().numpy().copy()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def set_arrays(model: torch.nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays received from another client or the server into a model.

    Raises
    ------
    FedPromptError
        If the names or shapes are not those that this model trains.
    """
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wrong = set(own) ^ set(arrays) or {n for n in own if tuple(own[n].shape) != np.shape(arrays[n])}
    if wrong:
        raise FedPromptError(
            f"these arrays belong to another model (differs: {sorted(wrong)[0]}); "
            "use the same backbone, method and number of labels everywhere"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.asarray(arrays[name])))


def encode(split, tokenizer, *, max_length: int = 64) -> Encoded:
    """Tokenise a split once, cutting texts to `max_length` tokens."""
    pairs = [list(split["text_pair"])] if "text_pair" in split.column_names else []
    texts = list(split["text"])
    token_ids = tokenizer(texts, *pairs, truncation=True, max_length=max_length)["input_ids"] if texts else []
    return Encoded(token_ids, np.asarray(split["label"], dtype=np.int64))


def join(parts: list[Encoded]) -> Encoded:
    """Put several tokenised splits together, in order."""
    return Encoded([ids for part in parts for ids in part.token_ids], np.concatenate([part.labels for part in parts]))


def batches(
    data: Encoded,
    batch_size: int,
    rng: np.random.Generator | None = None,
    *,
    pad: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, torch.Tensor]]:
    """Cut a split into batches of texts of similar length, so that little padding is computed.

    With `rng`, for training, examples are shuffled, sorted by length within stretches of 16 batches, and the batches
    shuffled again. Without it all are sorted by length, for evaluation. Each batch has ``input_ids`` and
    ``attention_mask`` of shape ``(batch, longest)`` and ``labels`` of shape ``(batch,)``, int64, on `device`.
    """
    lengths = np.array([len(ids) for ids in data.token_ids])
    if rng is None:
        order = np.argsort(-lengths, kind="stable")  # longest first: what it frees fits all that follows
    else:
        order = rng.permutation(len(lengths))
        stretch = 16 * batch_size
        order = np.concatenate(
            [
                part[np.argsort(lengths[part], kind="stable")]
                for part in np.split(order, range(stretch, len(order), stretch))
            ]
        )
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if rng is not None:
        chunks = [chunks[i] for i in rng.permutation(len(chunks))]
    for chunk in chunks:
        longest = lengths[chunk].max()
        input_ids = np.full((len(chunk), longest), pad, dtype=np.int64)
        for row, index in enumerate(chunk):
            input_ids[row, : lengths[index]] = data.token_ids[index]
        batch = {
            "input_ids": input_ids,
            "attention_mask": (np.arange(longest) < lengths[chunk, None]).astype(np.int64),
            "labels": data.labels[chunk],
        }
        yield {name: torch.from_numpy(values).to(device) for name, values in batch.items()}


def evaluate(model: torch.nn.Module, data: Encoded, *, batch_size: int = 64) -> Scores:
    """Score a model on one split.

    Raises
    ------
    FedPromptError
        If the split is empty.
    """
    if not len(data.labels):
        raise FedPromptError("nothing to evaluate: the split is empty; give it at least one example")
    model.eval()
    loss, truth, guess = 0.0, [], []
    with torch.inference_mode():
        for batch in batches(data, batch_size, pad=pad_of(model), device=device_of(model)):
            logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits.float()
            loss += torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
            truth.append(batch["labels"].cpu().numpy())
            guess.append(logits.argmax(-1).cpu().numpy())
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    macro_f1 = f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)
    return Scores(loss / len(truth), float((truth == guess).mean()), float(macro_f1), len(truth))


def train(
    model: torch.nn.Module,
    data: Encoded,
    dev: Encoded | None = None,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    batch_size: int = 16,
    patience: int | None = 5,
    seed: int = 0,
    proximal_mu: float = 0.0,
    on_epoch: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train what is trainable with AdamW, and keep the best epoch if a dev split is given.

    AdamW at 1e-3 and early stopping with a patience of 5 epochs are the paper's (arXiv 2507.03003, section 5.1).
    Dropout stays off: the frozen backbone computes the same function in training and evaluation.

    Parameters
    ----------
    model : torch.nn.Module
        From ``prepare``; changed in place.
    data, dev : Encoded
        Training split, and dev split: the epoch with the lowest dev loss is kept (None: the last one).
    epochs : int
        Epochs at most, at least 1.
    learning_rate : float
        AdamW's, above 0.
    batch_size : int
        Examples a step.
    patience : int, optional
        Stop after this many epochs without a lower dev loss. None: no early stopping.
    seed : int
        Governs the order of the examples.
    proximal_mu : float
        Weight of FedProx's proximal term, mu / 2 times the squared distance from the starting arrays
        (Li et al. 2020, equation 2). 0 leaves it out.
    on_epoch : callable, optional
        Called with each epoch's entry.

    Returns
    -------
    list of dict
        One entry an epoch: ``epoch``, ``train_loss``, ``seconds``, and with `dev` ``dev_loss``, ``dev_accuracy``.

    Raises
    ------
    FedPromptError
        If the training split is empty, or the loss stops being a finite number.
    """
    if len(data.labels) == 0:
        raise FedPromptError("nothing to train on: the training split is empty; give it at least one example")
    if epochs < 1 or batch_size < 1 or learning_rate <= 0:
        raise FedPromptError(
            f"epochs={epochs}, batch_size={batch_size}, learning_rate={learning_rate}; "
            "epochs and batch_size must be at least 1 and learning_rate above 0"
        )
    rng = np.random.default_rng(seed)
    device, trained = device_of(model), [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained] if proximal_mu else []
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, fused=device.type != "mps")
    history, best, best_loss, since_best = [], None, math.inf, 0
    model.eval()
    for epoch in range(1, epochs + 1):
        began, total = time.perf_counter(), 0.0
        for batch in batches(data, batch_size, rng, pad=pad_of(model), device=device):
            loss = model(**batch).loss
            total += loss.item() * len(batch["labels"])
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
        entry["seconds"] = time.perf_counter() - began
        history.append(entry)
        if on_epoch:
            on_epoch(entry)
        if dev is None:
            continue
        if entry["dev_loss"] < best_loss:
            best, best_loss, since_best = get_arrays(model), entry["dev_loss"], 0
        else:
            since_best += 1
            if patience is not None and since_best >= patience:
                break
    if best is not None:
        set_arrays(model, best)
    return history


def pad_of(model: torch.nn.Module) -> int:
    """Return the id of the padding token; where a model has none, any id will do: padding is masked."""
    return getattr(model.config, "pad_token_id", None) or 0


def device_of(model: torch.nn.Module) -> torch.device:
    """Return the device that a model is on."""
    return next(model.parameters()).device
