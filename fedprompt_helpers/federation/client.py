"""The ClientApp: it trains one client's share, and scores the languages that the client is responsible for.

The app knows nothing but its context: ``run_config`` holds the configuration, ``node_config`` which client this is and,
on a real node, the folder of its own data (``data-dir``). So one and the same object runs on the grid of this machine,
in Flower's simulation and on a SuperNode. What a client keeps to itself lies in ``context.state`` (chapter 6).
"""

import functools
import json

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ..clients import Frozen, Part, about, derive_seed, known_labels, model, part
from ..config import RunConfig
from ..model.counting import backbone_digest
from ..model.head_start import start_head
from ..model.head_start import statistics as class_sums
from ..model.training import evaluate, get_arrays, join, set_arrays, train
from .grid import say
from .messages import Arrays, content, from_record, pack_update, to_record
from .settings import read_settings

# Actions beside Flower's own: what a client holds, class sums for the start of the head, training without a federation.
ABOUT, STATISTICS, ALONE = "about", "statistics", "alone"

client_app = ClientApp()


@client_app.query()
def ready(message: Message, context: Context) -> Message:
    """Say which client this is, and which labels it knows."""
    config, client = _who(context)
    said = ConfigRecord({"client": client, "labels": list(known_labels(config, client))})
    return Message(RecordDict({"said": said}), reply_to=message)


@client_app.query(ABOUT)
def say_about(message: Message, context: Context) -> Message:
    """Say what this client holds, without a text."""
    config, client = _who(context)
    said = about(config, client, tuple(content(message)["config"]["labels"]))
    return Message(RecordDict({"said": ConfigRecord({"about": json.dumps(said)})}), reply_to=message)


@client_app.query(STATISTICS)
def statistics(message: Message, context: Context) -> Message:
    """Add up the features by class."""
    _, _, frozen, held = _what(message, context)
    set_arrays(frozen.model, frozen.initial)
    sums = class_sums(frozen.model, held.train, len(content(message)["config"]["labels"]))
    return Message(RecordDict({"arrays": to_record(sums)}), reply_to=message)


@client_app.train()
def train_round(message: Message, context: Context) -> Message:
    """Train the local epochs of one round."""
    config, client, frozen, held = _what(message, context)
    settings, received = content(message)["config"], from_record(content(message)["arrays"])
    number = settings["server-round"]
    start = _load(frozen, received, _kept(context, number - 1))
    history = train(
        frozen.model,
        held.train,
        epochs=config.training.local_epochs,
        patience=None,
        seed=derive_seed(config.seed, number, client),
        proximal_mu=settings.get("proximal-mu", 0.0),
        **_steps(config),
    )
    trained = get_arrays(frozen.model)
    if config.federation.head == "local":
        own = {name: trained[name] for name in start if name not in received}
        _keep(context, number, own, settings.get("best-round", 0))
        trained = {name: trained[name] for name in received}
    metrics = MetricRecord({"num-examples": len(held.train.labels), "train-loss": history[-1]["train_loss"]})
    update = to_record(pack_update(trained, received, config.federation.update_precision))
    return Message(RecordDict({"arrays": update, "metrics": metrics}), reply_to=message)


@client_app.train(ALONE)
def train_alone(message: Message, context: Context) -> Message:
    """Train without a federation: what one client holds, from the start to the end, and score it on its test splits."""
    config, client, frozen, held = _what(message, context)
    name = config.data.languages[client] if config.federation.setting == "local" else "all"
    set_arrays(frozen.model, frozen.initial)
    if config.model.head_start == "prototypes":
        sums = class_sums(frozen.model, held.train, len(content(message)["config"]["labels"]))
        set_arrays(frozen.model, frozen.initial | start_head(list(frozen.initial), sums))
    history = train(
        frozen.model,
        held.train,
        join(list(held.dev.values())),
        epochs=config.epochs,
        patience=config.training.patience,
        seed=derive_seed(config.seed, 0, client),
        on_epoch=lambda entry: say({"job": name, **entry}),
        **_steps(config),
    )
    scores = {language: evaluate(frozen.model, split)._asdict() for language, split in held.test.items()}
    done = json.dumps({"epochs": history, "test": scores, "digest": backbone_digest(frozen.model)})
    trained = {"arrays": to_record(get_arrays(frozen.model)), "said": ConfigRecord({"done": done})}
    return Message(RecordDict(trained), reply_to=message)


@client_app.evaluate()
def evaluate_round(message: Message, context: Context) -> Message:
    """Score the client's languages; before the final test, train its personal epochs if there are any."""
    config, client, frozen, held = _what(message, context)
    settings, scored = content(message)["config"], RecordDict()
    _load(frozen, from_record(content(message)["arrays"]), _kept(context, settings["server-round"]))
    if settings["split"] == "test":
        scored["proof"] = ConfigRecord({"backbone-digest": backbone_digest(frozen.model)})
        if config.training.personal_epochs and held.dev:
            _personalise(config, client, frozen, held)
    scored["metrics"] = MetricRecord({"partition-id": client})
    for language, split in (held.dev if settings["split"] == "dev" else held.test).items():
        scored[f"scores.{language}"] = MetricRecord(evaluate(frozen.model, split)._asdict())
    return Message(scored, reply_to=message)


def _who(context: Context) -> tuple[RunConfig, int]:
    config = _config(tuple(sorted(context.run_config.items())), context.node_config.get("data-dir"))
    return config, int(context.node_config["partition-id"])


@functools.lru_cache(maxsize=8)
def _config(settings: tuple, data_dir: str | None) -> RunConfig:
    config = read_settings(dict(settings))
    return config.replace(data_dir=data_dir) if data_dir else config


def _what(message: Message, context: Context) -> tuple[RunConfig, int, Frozen, Part]:
    config, client = _who(context)
    labels = tuple(content(message)["config"]["labels"])
    return config, client, model(config, labels), part(config, client, labels)


def _steps(config: RunConfig) -> dict:
    return {"learning_rate": config.training.learning_rate, "batch_size": config.training.batch_size}


def _load(frozen: Frozen, received: Arrays, own: Arrays) -> Arrays:
    """Load what came from the server and what the client keeps; what neither has is still the initial."""
    arrays = frozen.initial | {name: values.astype(np.float32) for name, values in received.items()} | own
    set_arrays(frozen.model, arrays)
    return arrays


def _personalise(config: RunConfig, client: int, frozen: Frozen, held: Part) -> None:
    """Train a few epochs on the client's own examples after the federation; keep what is best on its dev split.

    What came from the federation is a candidate too: an epoch that does not lower the dev loss changes nothing.
    """
    dev, epochs = join(list(held.dev.values())), config.training.personal_epochs
    common, loss = get_arrays(frozen.model), evaluate(frozen.model, dev).loss
    options = {"patience": config.training.patience or epochs, "seed": derive_seed(config.seed, 0, client)}
    history = train(frozen.model, held.train, dev, epochs=epochs, **options, **_steps(config))
    if min(entry["dev_loss"] for entry in history) >= loss:
        set_arrays(frozen.model, common)


def _kept(context: Context, number: int) -> Arrays:
    """Return what the client kept after a round, or after its latest round before that; nothing at first."""
    latest = max((kept for kept in _rounds(context) if kept <= number), default=None)
    return {} if latest is None else from_record(context.state[f"own-{latest}"])


def _keep(context: Context, number: int, own: Arrays, best: int) -> None:
    """Keep a client's own arrays of this round and of the best so far."""
    needed = max((kept for kept in _rounds(context) if kept <= best), default=0)
    for kept in _rounds(context):
        if kept != needed:
            del context.state[f"own-{kept}"]
    context.state[f"own-{number}"] = to_record(own)


def _rounds(context: Context) -> list[int]:
    return [int(name.removeprefix("own-")) for name in context.state if name.startswith("own-")]
