"""The federation: a Flower ServerApp and ClientApp, and a simulation that runs them with Ray."""

import os

for _name, _value in {
    "FLWR_LOG_LEVEL": "ERROR",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)

import dataclasses  # noqa: E402
import logging  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from flwr.app import (  # noqa: E402
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.common.serde import message_to_proto  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402
from flwr.serverapp.strategy import FedAvg, Strategy  # noqa: E402

from . import tuning  # noqa: E402
from .accounting import frozen_digest  # noqa: E402
from .clients import derive_seed, load_clients  # noqa: E402
from .config import RunConfig  # noqa: E402
from .errors import FedPromptError  # noqa: E402

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass
class Outcome:
    """What a federation leaves behind.

    Attributes
    ----------
    rounds : list of dict
        One entry a round: ``round``, ``train_loss``, ``dev`` (per language: loss, accuracy, macro-F1, examples),
        ``bytes`` (each way, training and evaluation), ``seconds``.
    arrays : dict of str to numpy.ndarray
        The averaged arrays of the round with the lowest mean dev loss.
    best_round : int
        That round.
    test : dict
        Per language: loss, accuracy, macro-F1 and examples of the official test split.
    message_parameters : int
        Numbers in the arrays that a client sends back.
    client_digests : list of str
        ``accounting.frozen_digest`` of the backbone in each client's process after the last round.
    """

    rounds: list[dict]
    arrays: Arrays
    best_round: int = 0
    test: dict = dataclasses.field(default_factory=dict)
    message_parameters: int = 0
    client_digests: list[str] = dataclasses.field(default_factory=list)


def to_record(arrays: Arrays) -> ArrayRecord:
    """Wrap named arrays for a Flower message."""
    return ArrayRecord({name: Array(values) for name, values in arrays.items()})


def from_record(record: ArrayRecord) -> Arrays:
    """Unwrap the named arrays of a Flower message."""
    return {name: array.numpy() for name, array in record.items()}


def make_client_app(config: RunConfig) -> ClientApp:
    """Build the ClientApp: it trains one client's share, or scores the languages it is responsible for."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        clients, client = load_clients(config), context.node_config["partition-id"]
        settings = message.content["config"]
        tuning.load_arrays(clients.model, from_record(message.content["arrays"]))
        history = tuning.train(
            clients.model,
            clients.train[client],
            epochs=config.local_epochs,
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            patience=None,
            seed=derive_seed(config.seed, settings["server-round"], client),
            proximal_mu=settings.get("proximal-mu", 0.0),
        )
        metrics = {
            "partition-id": client,
            "num-examples": len(clients.train[client].labels),
            "train-loss": history[-1]["train_loss"],
        }
        arrays = to_record(tuning.trainable_arrays(clients.model))
        return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        clients, client = load_clients(config), context.node_config["partition-id"]
        splits = {"dev": clients.dev, "test": clients.test}[message.content["config"]["split"]]
        tuning.load_arrays(clients.model, from_record(message.content["arrays"]))
        content = RecordDict({"metrics": MetricRecord({"partition-id": client})})
        if message.content["config"]["split"] == "test":
            content["proof"] = ConfigRecord({"frozen-digest": frozen_digest(clients.model)})
        for language in clients.languages_of(client):
            scores = tuning.evaluate(clients.model, splits[language])
            content[f"scores.{language}"] = MetricRecord(scores._asdict())
        return Message(content, reply_to=message)

    return app


def make_strategy(config: RunConfig) -> Strategy:
    """Choose Flower's strategy: FedAvg, weighted by each client's number of examples, every client every round."""
    n = config.num_clients
    return FedAvg(min_train_nodes=n, min_evaluate_nodes=n, min_available_nodes=n)


def make_server_app(config: RunConfig, outbox: list, on_round: Callable[[dict], None] | None = None) -> ServerApp:
    """Build the ServerApp; it puts its Outcome, or the exception that ended it, into `outbox`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        try:
            outbox.append(serve(grid, config, on_round))
        except Exception as error:
            outbox.append(error)

    return app


def serve(grid: Grid, config: RunConfig, on_round: Callable[[dict], None] | None = None) -> Outcome:
    """Run the rounds: send the arrays, let clients train, average, score on dev, stop early, test the best."""
    strategy = make_strategy(config)
    best = arrays = tuning.trainable_arrays(load_clients(config).model)
    outcome, best_loss = Outcome([], arrays), np.inf
    while len(list(grid.get_node_ids())) < config.num_clients:
        time.sleep(0.05)
    for number in range(1, config.rounds + 1):
        began = time.perf_counter()
        record = to_record(arrays)
        down, up, replies = _exchange(grid, strategy.configure_train(number, record, ConfigRecord(), grid))
        averaged, metrics = strategy.aggregate_train(number, replies)
        arrays = from_record(averaged)
        outcome.message_parameters = sum(array.numpy().size for array in replies[0].content["arrays"].values())
        dev, evaluate_down, evaluate_up, _ = _score(grid, arrays, "dev")
        loss = float(np.mean([scores["loss"] for scores in dev.values()]))
        entry = {
            "round": number,
            "train_loss": metrics["train-loss"],
            "dev_loss": loss,
            "dev": dev,
            "bytes": {
                "train_down": down,
                "train_up": up,
                "evaluate_down": evaluate_down,
                "evaluate_up": evaluate_up,
            },
            "seconds": time.perf_counter() - began,
        }
        outcome.rounds.append(entry)
        if on_round:
            on_round(entry)
        if loss < best_loss:
            best, best_loss, outcome.best_round = arrays, loss, number
        elif config.patience and (number - outcome.best_round) * config.local_epochs >= config.patience:
            break
    outcome.arrays = best
    outcome.test, _, _, outcome.client_digests = _score(grid, best, "test")
    return outcome


def _score(grid: Grid, arrays: Arrays, split: str) -> tuple[dict, int, int, list[str]]:
    """Let the clients score `arrays`; return scores per language, bytes each way, and backbone digests."""
    content = RecordDict({"arrays": to_record(arrays), "config": ConfigRecord({"split": split})})
    messages = [Message(content, dst_node_id=node, message_type=MessageType.EVALUATE) for node in grid.get_node_ids()]
    down, up, replies = _exchange(grid, messages)
    scores, digests = {}, []
    for reply in replies:
        if "proof" in reply.content:
            digests.append(reply.content["proof"]["frozen-digest"])
        for key, record in reply.content.items():
            if key.startswith("scores."):
                scores[key.removeprefix("scores.")] = dict(record)
    return scores, down, up, digests


def _exchange(grid: Grid, messages: Iterable[Message]) -> tuple[int, int, list[Message]]:
    """Send messages, wait for the replies, and measure the serialized bytes of both."""
    messages = list(messages)
    down = sum(message_to_proto(message).ByteSize() for message in messages)
    replies = list(grid.send_and_receive(messages))
    failed = [reply for reply in replies if reply.has_error()]
    if failed:
        raise FedPromptError(f"a client failed: {failed[0].error.reason}")
    replies.sort(key=lambda reply: reply.content["metrics"]["partition-id"])
    return down, sum(message_to_proto(reply).ByteSize() for reply in replies), replies


def simulate(config: RunConfig, on_round: Callable[[dict], None] | None = None) -> Outcome:
    """Run the federation on this machine: Flower's simulation, with Ray, one actor a core.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    on_round : callable, optional
        Called after each round with its entry, see ``Outcome.rounds``.

    Returns
    -------
    Outcome

    Raises
    ------
    FedPromptError
        If a client fails.
    """
    from flwr.simulation import run_simulation

    load_clients(config)  # mistakes in data or backbone surface here, before Ray starts
    logging.getLogger("ray").setLevel(logging.ERROR)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    outbox: list[Outcome | Exception] = []
    run_simulation(
        make_server_app(config, outbox, on_round),
        make_client_app(config),
        num_supernodes=config.num_clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {
                "num_cpus": min(cores, config.num_clients),
                "include_dashboard": False,
                "log_to_driver": False,
                "logging_level": logging.ERROR,
                "object_store_memory": 128 * 2**20,
            },
        },
    )
    if not outbox:
        raise FedPromptError("the simulation ended without a result; run it again with FLWR_LOG_LEVEL=INFO")
    if isinstance(outbox[0], Exception):
        raise outbox[0]
    return outbox[0]
