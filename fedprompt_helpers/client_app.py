"""The ClientApp: it trains one client's share, and scores the languages that the client is responsible for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from . import head_start, tuning
from .accounting import backbone_digest
from .clients import Clients, derive_seed, load_clients
from .config import RunConfig
from .updates import Arrays, from_record, pack_update, to_record

STATISTICS = "statistics"
"""Name of the query for what ``head_start`` adds up."""


def make_client_app(config: RunConfig, mods: Sequence = (), state_folder: str | None = None) -> ClientApp:
    """Build the ClientApp of a configuration.

    Parameters
    ----------
    config : RunConfig
        The configuration; it travels with the app, the backbone does not.
    mods : sequence
        Flower mods around every message.
    state_folder : str, optional
        Where clients keep what never leaves them: with ``head="local"``, their own classification head.

    Returns
    -------
    flwr.clientapp.ClientApp
    """
    app = ClientApp(mods=list(mods))

    @app.query()
    def ready(message: Message, context: Context) -> Message:
        client = context.node_config["partition-id"]
        return Message(RecordDict({"metrics": MetricRecord({"partition-id": client})}), reply_to=message)

    @app.query(STATISTICS)
    def statistics(message: Message, context: Context) -> Message:
        clients, client = _ready(config), context.node_config["partition-id"]
        tuning.load_arrays(clients.model, clients.initial)
        sums = head_start.statistics(clients.model, clients.train[client], len(clients.task.labels))
        return Message(RecordDict({"arrays": to_record(sums)}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        clients, client, settings = _ready(config), context.node_config["partition-id"], message.content["config"]
        number = settings["server-round"]
        received = from_record(message.content["arrays"])
        own = _load_own(state_folder, client, number - 1)
        start = _load_whole(clients, received, own)
        history = tuning.train(
            clients.model,
            clients.train[client],
            epochs=config.local_epochs,
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            patience=None,
            seed=derive_seed(config.seed, number, client),
            proximal_mu=settings.get("proximal-mu", 0.0),
        )
        trained = tuning.trainable_arrays(clients.model)
        if config.head == "local":
            _save_own(state_folder, client, number, {name: trained[name] for name in start if name not in received})
            trained = {name: trained[name] for name in received}
        metrics = {
            "partition-id": client,
            "num-examples": len(clients.train[client].labels),
            "train-loss": history[-1]["train_loss"],
        }
        update = to_record(pack_update(trained, received, config.update_precision))
        return Message(RecordDict({"arrays": update, "metrics": MetricRecord(metrics)}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        clients, client, settings = _ready(config), context.node_config["partition-id"], message.content["config"]
        split, number = settings["split"], settings["server-round"]
        _load_whole(clients, from_record(message.content["arrays"]), _load_own(state_folder, client, number))
        content = RecordDict({"metrics": MetricRecord({"partition-id": client})})
        if split == "test":
            content["proof"] = ConfigRecord({"backbone-digest": backbone_digest(clients.model)})
            if config.personal_epochs and clients.languages_of(client):
                _personalise(config, clients, client)
        for language in clients.languages_of(client, split):
            scores = tuning.evaluate(clients.model, {"dev": clients.dev, "test": clients.test}[split][language])
            content[f"scores.{language}"] = MetricRecord(scores._asdict())
        return Message(content, reply_to=message)

    return app


def _ready(config: RunConfig) -> Clients:
    torch.set_num_threads(1)
    return load_clients(config)


def _load_whole(clients: Clients, received: Arrays, own: Arrays) -> Arrays:
    """Load what came from the server and what the client keeps; what neither has is still the initial."""
    arrays = clients.initial | {name: values.astype(np.float32) for name, values in received.items()} | own
    tuning.load_arrays(clients.model, arrays)
    return arrays


def _personalise(config: RunConfig, clients: Clients, client: int) -> None:
    """Train a few epochs on the client's own examples after the federation; keep what is best on its dev split.

    What came from the federation is a candidate too: an epoch that does not lower the dev loss changes nothing.
    """
    dev = tuning.join([clients.dev[name] for name in clients.languages_of(client)])
    common, loss = tuning.trainable_arrays(clients.model), tuning.evaluate(clients.model, dev).loss
    history = tuning.train(
        clients.model,
        clients.train[client],
        dev,
        epochs=config.personal_epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        patience=config.patience or config.personal_epochs,
        seed=derive_seed(config.seed, 0, client),
    )
    if min(entry["dev_loss"] for entry in history) >= loss:
        tuning.load_arrays(clients.model, common)


def _own_path(folder: str, client: int, number: int) -> Path:
    return Path(folder) / f"client-{client}-round-{number}.npz"


def _load_own(folder: str | None, client: int, number: int) -> Arrays:
    """Read what the client kept after a round, or after its latest round before that; nothing at first."""
    for earlier in range(number, 0, -1) if folder else ():
        if _own_path(folder, client, earlier).exists():
            with np.load(_own_path(folder, client, earlier)) as kept:
                return dict(kept)
    return {}


def _save_own(folder: str, client: int, number: int, arrays: Arrays) -> None:
    path = _own_path(folder, client, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)
