"""What one process holds: the frozen backbone once, and the tokenised data of every client."""

import dataclasses
import functools
import json
import sys

import numpy as np
import torch
import xxhash

from . import tuning
from .backbones import load_backbone
from .config import RunConfig
from .errors import FedPromptError
from .partition import partition
from .tasks import Task, load_task
from .tuning import Encoded

PROMPT_METHODS = ("prompt-tuning", "p-tuning", "prefix-tuning")


@dataclasses.dataclass(frozen=True)
class Clients:
    """One model that all clients of this process share, and their data.

    Attributes
    ----------
    task : Task
        The task that the data comes from.
    model : torch.nn.Module
        From ``tuning.prepare``. A client loads its arrays into it before it trains or scores.
    train : list of Encoded
        Training examples, one entry a client.
    initial : dict of str to numpy.ndarray
        The arrays that every client starts from.
    dev, test : dict of str to Encoded
        Official dev and test split of each language.
    scorer : dict of str to int
        The client that scores a language's dev and test split: the one that holds it; where several do, or parts of
        all languages are everywhere, the splits are shared out. They are the experimenter's measure, whoever computes
        it.
    notes : tuple of str
        What a user should know about the data.
    digest : str
        Of all texts and labels: two runs with the same digest had the same data.
    """

    task: Task
    model: torch.nn.Module
    initial: dict[str, np.ndarray]
    train: list[Encoded]
    dev: dict[str, Encoded]
    test: dict[str, Encoded]
    scorer: dict[str, int]
    notes: tuple[str, ...]
    digest: str

    def languages_of(self, client: int, split: str = "dev") -> list[str]:
        """Name the languages whose dev or test split this client scores; unseen languages have a test split alone."""
        return [name for name in (self.dev if split == "dev" else self.test) if self.scorer[name] == client]


@functools.lru_cache(maxsize=1)
def load_clients(config: RunConfig) -> Clients:
    """Load backbone and data of a configuration, once a process.

    Returns
    -------
    Clients
    """
    whole = load_task(
        config.task,
        config.languages,
        unseen=config.unseen,
        seed=config.seed,
        train_size=config.train_size,
        dev_size=config.dev_size,
        data_dir=config.data_dir,
        text_field=config.text_field,
    )
    task = dataclasses.replace(whole, languages=config.languages)
    parts = partition(
        task,
        config.partition,
        clients=config.num_clients,
        alpha=config.alpha,
        mapping=config.mapping,
        seed=config.seed,
    )
    model, tokenizer = load_backbone(
        config.backbone,
        num_labels=len(task.labels),
        seed=config.seed,
        dtype=tuning.compute_dtype(config.precision, config.method),
    )
    model = tuning.prepare(
        model,
        config.method,
        virtual_tokens=config.virtual_tokens,
        prompt_init=config.prompt_init,
        seed=config.seed,
    )

    room = _room(model.config, config)
    notes = whole.notes
    if room < config.max_length:
        notes += (
            f"texts are cut to {room} tokens, not {config.max_length}: the backbone has no more positions beside the "
            "virtual tokens",
        )

    def encode(split) -> Encoded:
        return tuning.encode(split, tokenizer, max_length=min(room, config.max_length))

    return Clients(
        task=task,
        model=model,
        initial=tuning.trainable_arrays(model),
        train=[encode(part) for part in parts],
        dev={name: encode(task.data[name]["dev"]) for name in task.languages},
        test={name: encode(task.data[name]["test"]) for name in whole.languages},
        scorer=_scorers(config),
        notes=notes,
        digest=data_digest(whole),
    )


def _room(backbone, config: RunConfig) -> int:
    """Count the positions that a backbone has for text: RoBERTa's first ones are not used, prompts take some."""
    unused = backbone.pad_token_id + 1 if "roberta" in backbone.model_type else 0
    prompt = config.virtual_tokens if config.method in PROMPT_METHODS else 0
    room = getattr(backbone, "max_position_embeddings", sys.maxsize) - unused - prompt
    if room < 3:
        raise FedPromptError(
            f"virtual_tokens is {config.virtual_tokens}, but the backbone has {room + prompt} positions in all; "
            "take fewer virtual tokens"
        )
    return room


def _scorers(config: RunConfig) -> dict[str, int]:
    """Say which client scores each language."""
    spread = max(1, config.num_clients // len(config.languages))  # clients a language: the first of them scores it
    scorer = {name: i * spread % config.num_clients for i, name in enumerate(config.languages + config.unseen)}
    for client, group in reversed(list(enumerate(config.mapping or ()))):
        scorer |= dict.fromkeys(group, client)
    return scorer


def data_digest(task: Task) -> str:
    """Hash all texts and labels of a task, 128-bit XXH3 in hexadecimal."""
    hasher = xxhash.xxh3_128()
    for language in sorted(task.data):
        for split, rows in sorted(task.data[language].items()):
            for column in sorted(rows.column_names):
                hasher.update(json.dumps([language, split, column, list(rows[column])]).encode())
    return hasher.hexdigest()


def derive_seed(*numbers: int) -> int:
    """Mix the run's seed with, for example, a round and a client into one seed of 32 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
