"""What a client trains: the pencil model of chapter 5, or a prompt."""

from functools import lru_cache

import numpy as np
import torch

import fedprompt_helpers as fp

WORDS = {"cy": [2, 4, 6], "ga": [8]}  # how long each command is


class Pencil:
    """One number w, the guess of how many words a command has."""

    def __init__(self, languages, mine):
        """Hold the lengths of one language."""
        self.data = np.array(WORDS[languages[mine]])
        self.start = {"w": np.array([0.0])}

    def train(self, arrays, epochs, mu, seed):
        """Take gradient steps at rate 0.5; mu pulls back to what came."""
        w = received = arrays["w"]
        for _ in range(epochs):
            w = w - 0.5 * ((w - self.data.mean()) + mu * (w - received))
        return {"w": w}, len(self.data)

    def evaluate(self, arrays):
        """Return how far the guess is off, on average."""
        error = np.abs(arrays["w"] - self.data).mean()
        return {"error": float(error)}, len(self.data)


class Prompt:
    """P-tuning of a frozen backbone, for the voice commands of a language."""

    def __init__(self, languages, mine):
        """Load the backbone, and the commands of one language."""
        torch.set_num_threads(1)  # a core for each client's process
        task = fp.load_task("intents", languages, train_size=48, seed=0)
        self.model, tokenizer = backbone(len(task.labels))
        self.start = start(len(task.labels))
        own = task.data[languages[mine]]
        self.data = fp.encode(own["train"], tokenizer)
        self.dev = fp.encode(own["dev"], tokenizer)
        self.majority = fp.majority_accuracy(own["dev"])[1]

    def train(self, arrays, epochs, mu, seed):
        """Load what came, train it, and return what it became."""
        fp.set_arrays(self.model, arrays)
        rate = {"learning_rate": 4e-3, "batch_size": 8, "patience": None}
        seeds = {"seed": seed, "proximal_mu": mu}
        fp.train(self.model, self.data, epochs=epochs, **rate, **seeds)
        return fp.get_arrays(self.model), len(self.data.labels)

    def evaluate(self, arrays):
        """Return the accuracy on dev, and that of the majority class."""
        fp.set_arrays(self.model, arrays)
        accuracy = fp.evaluate(self.model, self.dev).accuracy
        scores = {"accuracy": accuracy, "majority": self.majority}
        return scores, len(self.dev.labels)


@lru_cache
def backbone(num_labels):
    """Load the frozen model once a process, not once a message."""
    loaded = fp.load_backbone("pocket", num_labels=num_labels, seed=0)
    return fp.prepare(loaded.model, "p-tuning", seed=0), loaded.tokenizer


@lru_cache
def start(num_labels):
    """Return the arrays that everybody starts from."""
    return fp.get_arrays(backbone(num_labels)[0])


@lru_cache
def load(model, languages, mine=0):
    """Return what client number `mine` holds; languages are "cy,ga"."""
    names = tuple(languages.split(","))
    if mine >= len(names):
        raise ValueError(
            f"client {mine} has no language: {languages} are {len(names)}; "
            f'start with --federation-config "num-supernodes={len(names)}"'
        )
    return {"pencil": Pencil, "prompt": Prompt}[model](names, mine)
