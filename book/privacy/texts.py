"""What clients of chapter 15 hold: texts, labels, and unit vectors of the frozen backbone."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

import fedprompt_helpers as fp

FIVE = ("cy", "ga", "en", "de", "is")
TEN = (*FIVE, "af", "eu", "fr", "lb", "nl")
NEWS = ("ibo", "lin", "lug", "orm", "pcm", "run", "sna", "som", "xho", "yor")
PUBLIC = {"intents": "es", "masakhanews": "eng"}  # whose dev texts nobody in the federation holds
_known: dict[str, np.ndarray] = {}


class Rows(NamedTuple):
    """Texts with their features, float64 ``(n, 384)`` of length 1, and labels, int64 ``(n,)``."""

    texts: list[str]
    x: np.ndarray
    y: np.ndarray


@lru_cache
def backbone():
    """Load the frozen encoder and its tokenizer once."""
    model, tokenizer = fp.load_backbone("pocket", num_labels=2)
    return model.base_model.eval(), tokenizer


@torch.inference_mode()
def means(texts) -> np.ndarray:
    """Return the mean token vector of each text; a text is computed once in a process."""
    encoder, tokenizer = backbone()
    new = sorted(set(texts) - _known.keys(), key=lambda text: (len(text), text))
    for i in range(0, len(new), 64):
        batch = tokenizer(new[i : i + 64], padding=True, truncation=True, max_length=64, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None]
        found = (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        _known.update(zip(new[i : i + 64], found.double().numpy(), strict=True))
    return np.array([_known[text] for text in texts])


@lru_cache
def centre(task: str) -> np.ndarray:
    """Return the mean vector of texts that are public."""
    return means(list(fp.load_task(task, [PUBLIC[task]]).data[PUBLIC[task]]["dev"]["text"])).mean(0)


def rows(texts, labels, task: str = "intents") -> Rows:
    """Give texts their features."""
    x = means(list(texts)) - centre(task)
    return Rows(list(texts), x / np.linalg.norm(x, axis=1, keepdims=True), np.asarray(labels))


def clients(languages=FIVE, budget: int = 64, seed: int = 0, task: str = "intents", draw: str = "balanced"):
    """Draw what each language's client trains on and is tested on: by language and split, its `Rows`."""
    data = fp.load_task(task, languages, label_budget=budget, seed=seed, draw=draw).data
    return {
        name: {split: rows(data[name][split]["text"], data[name][split]["label"], task) for split in ("train", "test")}
        for name in languages
    }


def candidates(language: str) -> Rows:
    """List every distinct voice command of a language's files, in alphabetical order, as an attacker knows them."""
    splits = fp.load_task("intents", [language]).data[language].values()
    known = {text: label for split in splits for text, label in zip(split["text"], split["label"], strict=True)}
    return rows(sorted(known), [known[text] for text in sorted(known)])


def labels(task: str = "intents") -> tuple[str, ...]:
    """Return the label set."""
    return fp.load_task(task, [PUBLIC[task]]).labels
