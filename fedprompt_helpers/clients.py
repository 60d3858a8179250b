"""What one process holds: the frozen backbone once, and the tokenised data of every client."""

import dataclasses
import functools

import numpy as np
import torch

from . import tuning
from .backbones import load_backbone
from .config import RunConfig
from .partition import partition
from .tasks import Task, load_task
from .tuning import Encoded


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
    """

    task: Task
    model: torch.nn.Module
    initial: dict[str, np.ndarray]
    train: list[Encoded]
    dev: dict[str, Encoded]
    test: dict[str, Encoded]

    def languages_of(self, client: int, split: str = "dev") -> list[str]:
        """Name the languages whose dev or test split this client scores.

        With one client a language that is its own. Otherwise the splits are shared out evenly: they are the
        experimenter's measure, whoever computes it. Unseen languages have a test split alone.
        """
        names = list(self.dev if split == "dev" else self.test)
        return [name for i, name in enumerate(names) if i * self.spread % len(self.train) == client]

    @property
    def spread(self) -> int:
        """Clients a language, so that with several each the first of them scores it."""
        return max(1, len(self.train) // len(self.task.languages))


@functools.lru_cache(maxsize=1)
def load_clients(config: RunConfig) -> Clients:
    """Load backbone and data of a configuration, once a process.

    Returns
    -------
    Clients
    """
    whole = load_task(
        config.task,
        config.languages + config.unseen,
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

    def encode(split) -> Encoded:
        return tuning.encode(split, tokenizer, max_length=config.max_length)

    return Clients(
        task=task,
        model=model,
        initial=tuning.trainable_arrays(model),
        train=[encode(part) for part in parts],
        dev={name: encode(task.data[name]["dev"]) for name in task.languages},
        test={name: encode(task.data[name]["test"]) for name in whole.languages},
    )


def derive_seed(*numbers: int) -> int:
    """Mix the run's seed with, for example, a round and a client into one seed of 32 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
