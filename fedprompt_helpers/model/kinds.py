"""What a model reads and says for each kind of task (chapter 14): token ids and targets, the loss, guesses, scores."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score

from ..data.kinds import answer_scores, answers, entity_scores, places

IGNORED = -100  # the target of a token that is not scored: PyTorch's own number
LONGEST = 30  # tokens of an answer


class Encoded(NamedTuple):
    """A split, tokenised once: a list of token id lists (no padding), and what is to be said of each.

    Of texts, ``labels`` is int64 ``(examples,)``. Of tokens, one such array a sentence: a tag at the first piece of
    each word, ``IGNORED`` elsewhere. Of spans, ``(windows, 2)``: the answer's first and last token, 0 if not inside.
    """

    token_ids: list[list[int]]
    labels: Any
    kind: str = "text"
    rows: Sequence = ()  # of tokens and spans, what scoring needs of each entry
    names: tuple[str, ...] = ()  # of tags


class Window(NamedTuple):
    """A stretch of a context, and the whole of which it is a part."""

    first: bool  # of its question
    context: str
    answers: list[str]
    offsets: list[tuple[int, int] | None]  # of each token of the context


def encode_kind(kind: str, split, tokenizer, max_length: int, names: Sequence[str]) -> Encoded:
    """Tokenise a split of any kind; see ``training.encode``."""
    texts = [list(split[name]) for name in ("text", "text_pair") if name in split.column_names]
    if kind == "text":
        token_ids = tokenizer(*texts, truncation=True, max_length=max_length)["input_ids"] if texts[0] else []
        return Encoded(token_ids, np.asarray(split["label"], dtype=np.int64), names=tuple(names))
    made = (_tagged if kind == "tokens" else _windows)(texts, list(split["label"]), tokenizer, max_length, [*names])
    targets = np.array(made[1], np.int64).reshape(-1, 2) if kind == "span" else made[1]
    return Encoded(made[0], targets, kind, made[2], tuple(names))


def _tagged(texts: list, labels: list[str], tokenizer, max_length: int, names: list[str]) -> tuple[list, list, list]:
    ids, targets, rows = [], [], []
    for text, label in zip(*texts, labels, strict=True):
        tags = label.split()
        one = tokenizer(text.split(" "), is_split_into_words=True, truncation=True, max_length=max_length)
        words, target, first = one.word_ids(), np.full(len(one["input_ids"]), IGNORED, np.int64), []
        for i, word in enumerate(words):
            if word is not None and word not in words[:i]:
                target[i] = names.index(tags[word])
                first.append(word)
        ids.append(one["input_ids"])
        targets.append(target)
        rows.append((tags, first))
    return ids, targets, rows


def _windows(texts: list, labels: list[str], tokenizer, max_length: int, _) -> tuple[list, list, list]:
    ids, targets, rows = [], [], []
    for question, context, label in zip(*texts, labels, strict=True):
        ends = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        question = question[: ends[: max_length // 2 - 4][-1][1]]  # half of a window is the context's
        options = {"truncation": "only_second", "max_length": max_length, "stride": max_length // 4}
        options |= {"return_overflowing_tokens": True, "return_offsets_mapping": True}
        found, golds, wanted = tokenizer(question, context, **options), answers(context, label), places(label)[:1]
        for number, token_ids in enumerate(found["input_ids"]):
            offsets = found["offset_mapping"][number]
            inside = [x if of == 1 else None for x, of in zip(offsets, found.sequence_ids(number), strict=True)]
            target = [0, 0]
            for start, end in wanted:
                at = [i for i, x in enumerate(inside) if x and x[0] < end and x[1] > start]
                shown = at and inside[at[0]][0] <= start and inside[at[-1]][1] >= end
                target = [at[0], at[-1]] if shown else target
            ids.append(token_ids)
            targets.append(target)
            rows.append(Window(not number, context, golds, inside))
    return ids, targets, rows


def join(parts: list[Encoded]) -> Encoded:
    """Put several tokenised splits together, in order."""
    ids, rows = [x for part in parts for x in part.token_ids], [x for part in parts for x in part.rows]
    ragged = parts[0].kind == "tokens"
    labels = [x for part in parts for x in part.labels] if ragged else np.concatenate([x.labels for x in parts])
    return parts[0]._replace(token_ids=ids, labels=labels, rows=rows)


def targets_of(data: Encoded, chunk: Sequence[int], width: int) -> np.ndarray:
    """Return the targets of some entries, int64; those of tokens padded to a width by what is ignored."""
    if data.kind != "tokens":
        return data.labels[chunk]
    return np.stack([np.pad(data.labels[i], (0, width - len(data.labels[i])), constant_values=IGNORED) for i in chunk])


def kind_loss(kind: str, output: torch.Tensor, batch: dict, labels: torch.Tensor, reduction: str) -> torch.Tensor:
    """Return the cross-entropy of a batch in nats: of a label, of tags, of both ends of an answer."""
    measure = torch.nn.functional.cross_entropy
    if kind == "tokens":
        return measure(output.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction=reduction)
    if kind == "span":
        output = output.masked_fill(batch["attention_mask"][:, :, None] == 0, -1e4)
        return measure(output.transpose(1, 2).flatten(0, 1), labels.flatten(), reduction=reduction)
    return measure(output, labels, reduction=reduction)


def output_of(kind: str, model: torch.nn.Module, batch: dict) -> torch.Tensor:
    """Return the logits of a batch, of tokens and spans without the positions that a prompt takes before the text."""
    logits = model(**batch).logits
    return logits if kind == "text" else logits[:, -batch["input_ids"].shape[1] :]


def targets_in(data: Encoded) -> int:
    """Count what the mean loss is a mean over."""
    return sum(int((x != IGNORED).sum()) for x in data.labels) if data.kind == "tokens" else data.labels.size


def guesses_of(data: Encoded, logits: Sequence[np.ndarray]) -> Sequence:
    """Say the label of each text, the tags of each sentence, the answer to each question."""
    if data.kind == "text":
        return np.asarray(logits).argmax(1)
    if data.kind == "tokens":
        found = []
        for (tags, words), target, scores in zip(data.rows, data.labels, logits, strict=True):
            said = scores[: len(target)][target != IGNORED].argmax(1)
            known = dict(zip(words, said, strict=True))  # a word that was cut off is O
            found.append([data.names[known[i]] if i in known else "O" for i in range(len(tags))])
        return found
    return [answer for _, answer, _ in _best(data, logits)]


def _best(data: Encoded, logits: Sequence[np.ndarray]) -> list[tuple[float, str, float]]:
    """Return of each question how much better its best answer is than none, in logits, that answer, its probability."""
    best: list[tuple[float, str, float]] = []
    for window, scores in zip(data.rows, logits, strict=True):
        size = len(window.offsets)
        inside, shares = np.array([x is not None for x in window.offsets]), log_softmax(scores[:size], axis=0)
        allowed = inside[:, None] & inside & np.triu(np.tri(size, k=LONGEST - 1, dtype=bool))
        sums = np.where(allowed, shares[:, 0, None] + shares[None, :, 1], -np.inf)
        i, j = np.unravel_index(sums.argmax(), sums.shape)
        first, last = window.offsets[i] or (0, 0), window.offsets[j] or (0, 0)
        answer = window.context[first[0] : last[1]].strip()
        found = float(sums[i, j] - shares[0].sum()), answer, float(np.exp(sums[i, j]))
        best = [*best, found] if window.first else [*best[:-1], max(best[-1], found)]
    return best


def scores_of(data: Encoded, logits: Sequence[np.ndarray], loss: float) -> dict[str, Any]:
    """Score guesses: loss, accuracy, macro-F1, examples, and what else a kind has.

    Of words, accuracy is theirs, macro-F1 is over the types of whole entities, and ``entity_f1`` over all entities. Of
    questions, accuracy is exact match, and macro-F1 the mean F1 of the words of an answer.
    """
    guesses = guesses_of(data, logits)
    if data.kind == "tokens":
        found = entity_scores([tags for tags, _ in data.rows], guesses)
    elif data.kind == "span":
        found = answer_scores([window.answers for window in data.rows if window.first], guesses)
    else:
        macro_f1 = f1_score(data.labels, guesses, labels=np.unique(data.labels), average="macro", zero_division=0)
        found = {"accuracy": float((data.labels == guesses).mean()), "macro_f1": float(macro_f1)}
    return {"loss": loss, **found, "examples": len(guesses)}


def said(data: Encoded, logits: Sequence[np.ndarray]) -> list[tuple[str, float]]:
    """Say each guess as text, and how probable it is held to be: of tags the mean, of a span that of its ends."""
    if data.kind == "span":
        return [(answer, probability) for _, answer, probability in _best(data, logits)]
    guesses, most = guesses_of(data, logits), [softmax(row, axis=-1).max(-1) for row in logits]
    if data.kind == "tokens":
        shown = [x[: len(y)][y != IGNORED] for x, y in zip(most, data.labels, strict=True)]
        return [(" ".join(tags), float(x.mean()) if len(x) else 0.0) for tags, x in zip(guesses, shown, strict=True)]
    return [(data.names[k], float(x)) for k, x in zip(guesses, most, strict=True)]


def unlabelled(kind: str, texts: Sequence[str]) -> list:
    """Make labels for texts that have none: they are read by nothing."""
    return [0 if kind == "text" else "-" if kind == "span" else " ".join("O" for _ in text.split()) for text in texts]
