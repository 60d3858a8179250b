"""The ClientApp: it trains one client's share, and scores the languages that the client is responsible for.

The app knows nothing but its context: ``run_config`` holds the configuration, ``node_config`` which client this is and,
on a real node, the folder of its own data (``data-dir``). So one and the same object runs on the grid of this machine,
in Flower's simulation and on a SuperNode. What a client keeps to itself lies in ``context.state`` (chapter 6).
"""

import json
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ..clients import Frozen, Part, about, derive_seed, known_labels, model, part
from ..config import RunConfig, from_text
from ..model.counting import backbone_digest
from ..model.head_start import start_head
from ..model.head_start import statistics as class_sums
from ..model.training import evaluate, get_arrays, goodness, join, set_arrays, test_scores, train
from .grid import say
from .messages import Arrays, from_record, pack_update, to_record

# Actions beside Flower's own: what a client holds, class sums for the start of the head, training without a federation.
ABOUT, STATISTICS, ALONE = "about", "statistics", "alone"

client_app = ClientApp()


class _Asked(NamedTuple):
    """What a message asks, and what this client has for it."""

    context: Context
    config: RunConfig
    client: int
    settings: Any
    frozen: Frozen
    held: Part

    def train(self, number: int, dev=None, **options) -> list[dict]:
        training, seed = self.config.training, derive_seed(self.config.seed, number, self.client)
        options |= {"learning_rate": training.learning_rate, "batch_size": training.batch_size, "seed": seed}
        options["best_by"] = training.best_by
        return train(self.frozen.model, self.held.train, dev, **options)

    def class_sums(self) -> Arrays:
        set_arrays(self.frozen.model, self.frozen.initial)
        labels, kind = len(self.settings["labels"]), self.config.model.head_start
        return class_sums(self.frozen.model, self.held.train, labels, kind)

    def kept(self, number: int) -> list[int]:
        """Name the rounds up to a number after which the client kept arrays of its own."""
        rounds = [int(name.removeprefix("own-")) for name in self.context.state if name.startswith("own-")]
        return sorted(each for each in rounds if each <= number)

    def load(self, received: Arrays, number: int = 0) -> None:
        """Load what came from the server and what the client kept last; what neither has is still the initial."""
        arrays = self.frozen.initial | {name: values.astype(np.float32) for name, values in received.items()}
        for latest in self.kept(number)[-1:]:
            arrays |= from_record(self.context.state[f"own-{latest}"])
        set_arrays(self.frozen.model, arrays)

    def goodness(self, dev) -> float:
        return goodness(evaluate(self.frozen.model, dev), self.config.training.best_by)

    def score_test(self) -> dict[str, dict]:
        return {x: test_scores(self.frozen.model, y, self.held.own_labels[x]) for x, y in self.held.test.items()}


def _who(context: Context) -> tuple[RunConfig, int]:
    own = {name: context.node_config[name] for name in ("data-dir",) if context.node_config.get(name)}
    return RunConfig(**from_text(context.run_config | own)), int(context.node_config["partition-id"])


def _read(message: Message, context: Context) -> _Asked:
    (config, client), settings = _who(context), message.content.config_records["config"]
    labels: Any = tuple(settings["labels"])  # type: ignore
    return _Asked(context, config, client, settings, model(config, labels), part(config, client, labels))


@client_app.query()
def ready(message: Message, context: Context) -> Message:
    """Say which client this is, and which labels it knows."""
    config, client = _who(context)
    said = ConfigRecord({"client": client, "labels": list(known_labels(config, client))})
    return Message(RecordDict({"said": said}), reply_to=message)


@client_app.query(ABOUT)
def say_about(message: Message, context: Context) -> Message:
    """Say what this client holds, without a text."""
    labels: Any = tuple(message.content.config_records["config"]["labels"])  # type: ignore
    config, client = _who(context)
    backbone = backbone_digest(model(config, labels).model) if config.federation.setting == "federated" else ""
    said = ConfigRecord({"about": json.dumps(about(config, client, labels) | {"backbone": backbone})})
    return Message(RecordDict({"said": said}), reply_to=message)


@client_app.query(STATISTICS)
def statistics(message: Message, context: Context) -> Message:
    """Add up the features by class."""
    return Message(RecordDict({"arrays": to_record(_read(message, context).class_sums())}), reply_to=message)


@client_app.train()
def train_round(message: Message, context: Context) -> Message:
    """Train the local epochs of one round; of arrays that stay here, keep this round's and those of the best so far."""
    asked, received = _read(message, context), from_record(message.content["arrays"])
    number, federation = asked.settings["server-round"], asked.config.federation
    asked.load(received, number - 1)
    options = {"epochs": asked.config.training.local_epochs, "patience": None}
    history = asked.train(number, proximal_mu=asked.settings.get("proximal-mu", 0.0), **options)
    trained = get_arrays(asked.frozen.model)
    if "local" in (federation.head, federation.prompt):
        for old in set(asked.kept(number)) - set(asked.kept(asked.settings["best-round"])[-1:]):
            del context.state[f"own-{old}"]
        own = {name: trained.pop(name) for name in list(trained) if name not in received}
        context.state[f"own-{number}"] = to_record(own)
    metrics = MetricRecord({"num-examples": len(asked.held.train.labels), "train-loss": history[-1]["train_loss"]})
    update = to_record(pack_update(trained, received, federation.update_precision))
    return Message(RecordDict({"arrays": update, "metrics": metrics}), reply_to=message)


@client_app.train(ALONE)
def train_alone(message: Message, context: Context) -> Message:
    """Train without a federation: what one client holds, from the start to the end, and score it on its test splits."""
    asked = _read(message, context)
    config, frozen, held = asked.config, asked.frozen, asked.held
    name = config.data.languages[asked.client] if config.federation.setting == "local" else "all"
    asked.load(start_head(list(frozen.initial), [asked.class_sums()]) if config.model.head_start != "random" else {})
    dev, patience = join(list(held.dev.values())) if held.dev else None, config.training.patience
    options = {"epochs": config.epochs, "patience": patience, "on_epoch": lambda entry: say({"job": name} | entry)}
    history = asked.train(0, dev, **options) if config.epochs else []
    done = {"epochs": history, "test": asked.score_test(), "digest": backbone_digest(frozen.model)}
    trained = {"arrays": to_record(get_arrays(frozen.model)), "said": ConfigRecord({"done": json.dumps(done)})}
    return Message(RecordDict(trained), reply_to=message)


@client_app.evaluate()
def evaluate_round(message: Message, context: Context) -> Message:
    """Score the client's languages; before the final test, train its personal epochs if there are any."""
    asked, scored = _read(message, context), RecordDict()
    trained, held, epochs = asked.frozen.model, asked.held, asked.config.training.personal_epochs
    asked.load(from_record(message.content["arrays"]), asked.settings["server-round"])
    if asked.settings["split"] == "dev":
        found = {language: evaluate(trained, split)._asdict() for language, split in held.dev.items()}
    else:
        scored["proof"] = ConfigRecord({"backbone-digest": backbone_digest(trained)})
        if epochs:
            dev, common = join(list(held.dev.values())) if held.dev else None, get_arrays(trained)
            before: Any = dev and asked.goodness(dev)
            asked.train(0, dev, epochs=epochs, patience=asked.config.training.patience)
            if dev and asked.goodness(dev) <= before:
                set_arrays(trained, common)  # what came from the federation is a candidate too
        found = asked.score_test()
    if asked.settings["send-own"]:
        scored["own"] = to_record(get_arrays(trained))
    scored["metrics"] = MetricRecord({"partition-id": asked.client})
    scored.update({f"scores.{language}": MetricRecord(scores) for language, scores in found.items()})
    return Message(scored, reply_to=message)
