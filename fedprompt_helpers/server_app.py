"""The ServerApp: rounds of training and scoring, checkpointed, going on without clients that fail."""

import dataclasses
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedProx, Krum, Strategy

from .accounting import is_head
from .clients import load_clients
from .config import RunConfig
from .distance_average import average_for_each, weights_by_distance
from .errors import FedPromptError
from .exchange import Traffic, client_names, exchange, score, sound_updates, statistics
from .head_start import prototype_head
from .simulation import look_often
from .updates import Arrays, from_record, round_for_sending, to_record

OnRound = Callable[[dict], None]


@dataclasses.dataclass
class Outcome:
    """What a federation leaves behind.

    Attributes
    ----------
    rounds : list of dict
        One entry a round: ``round``, ``train_loss``, ``dev_loss``, ``dev`` (per language: loss, accuracy, macro-F1,
        examples), ``bytes`` (training and evaluation, each way, all clients), ``client_bytes`` (the same, client by
        client), ``failed`` (client and reason), ``seconds``.
    arrays : dict of str to numpy.ndarray
        The averaged arrays of the round with the lowest mean dev loss.
    own : dict of int to dict of str to numpy.ndarray
        The averages of that round that were made for single clients, by client; empty where all get `arrays`.
    best_round : int
        That round.
    test : dict
        Per language: loss, accuracy, macro-F1 and examples of the official test split.
    start : dict
        With ``head_start="prototypes"``, what that exchange took: ``bytes``, ``client_bytes``, ``failed``; else empty.
    message_parameters : int
        Numbers in the arrays that a client sends back.
    client_digests : list of str
        ``accounting.backbone_digest`` of the backbone in each client's process after the last round.
    """

    rounds: list[dict] = dataclasses.field(default_factory=list)
    arrays: Arrays = dataclasses.field(default_factory=dict)
    own: dict[int, Arrays] = dataclasses.field(default_factory=dict)
    best_round: int = 0
    test: dict = dataclasses.field(default_factory=dict)
    start: dict = dataclasses.field(default_factory=dict)
    message_parameters: int = 0
    client_digests: list[str] = dataclasses.field(default_factory=list)


def make_strategy(config: RunConfig) -> Strategy:
    """Choose Flower's strategy; every client takes part in every round, weighted by its number of examples."""
    n = config.num_clients
    # A round goes on with fewer clients if some do not answer, but all are asked.
    everyone = {"min_train_nodes": n, "min_evaluate_nodes": n, "min_available_nodes": n}
    if config.aggregation == "fedprox":
        return FedProx(proximal_mu=config.proximal_mu, **everyone)
    if config.aggregation == "fedavgm":
        return FedAvgM(
            server_learning_rate=config.server_learning_rate, server_momentum=config.server_momentum, **everyone
        )
    if config.aggregation == "fedadam":
        return FedAdam(eta=config.server_learning_rate, beta_1=config.server_momentum, **everyone)
    if config.aggregation == "fedmedian":
        return FedMedian(**everyone)
    if config.aggregation == "krum":
        return Krum(num_malicious_nodes=1, **everyone)
    return FedAvg(**everyone)


def make_server_app(
    config: RunConfig, outbox: list, on_round: OnRound | None = None, checkpoint: Path | None = None
) -> ServerApp:
    """Build the ServerApp; it puts its Outcome, or the exception that ended it, into `outbox`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        try:
            outbox.append(serve(grid, config, on_round, checkpoint))
        except Exception as error:
            outbox.append(error)

    return app


def serve(grid: Grid, config: RunConfig, on_round: OnRound | None = None, checkpoint: Path | None = None) -> Outcome:
    """Run the rounds: send the arrays, let clients train, average, score on dev, stop early, test the best.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The way to the clients.
    config : RunConfig
        The configuration.
    on_round : callable, optional
        Called after each round with its entry.
    checkpoint : pathlib.Path, optional
        File that holds all finished rounds; if it is there, the run goes on after them.

    Returns
    -------
    Outcome

    Raises
    ------
    FedPromptError
        If fewer than ``config.min_share`` of the clients sent a sound update in a round.
    """
    look_often(grid)
    strategy = make_strategy(config)
    initial = load_clients(config).initial
    arrays = {name: x for name, x in initial.items() if config.head == "shared" or not is_head(name)}
    outcome, best_loss, own = Outcome(arrays=arrays), np.inf, {}
    if checkpoint and (kept := read_checkpoint(checkpoint)):
        outcome, best_loss, arrays, own, state = kept
        vars(strategy).update(state)
        for entry in outcome.rounds if on_round else ():
            on_round(entry | {"resumed": True})
    while len(list(grid.get_node_ids())) < config.num_clients:
        time.sleep(0.05)
    names = client_names(grid)
    if config.head_start == "prototypes" and not outcome.rounds:
        arrays, outcome.start = _prototype_start(grid, config, names, arrays)
    for number in range(len(outcome.rounds) + 1, config.rounds + 1):
        if _patience_is_over(config, outcome):
            break
        began, failed, traffic = time.perf_counter(), [], Traffic(config.num_clients)
        sent = round_for_sending(arrays, config.update_precision)
        messages = list(strategy.configure_train(number, to_record(sent), ConfigRecord(), grid))
        _put_own(messages, own, names)
        replies = exchange(grid, messages, names, failed, traffic)
        sound = sound_updates(replies, sent, config, names, failed)
        if len(sound) < max(1, config.min_share * config.num_clients):
            raise FedPromptError(
                f"round {number}: only {len(sound)} of {config.num_clients} clients sent a sound update, fewer than "
                f"the share of {config.min_share}; client {failed[0]['client']} {failed[0]['why']}; the finished "
                "rounds are kept: mend the cause and give the same command again"
            )
        outcome.message_parameters = sum(array.size for array in sent.values())
        averaged, metrics = strategy.aggregate_train(number, sound)
        arrays = {name: values.astype(np.float32) for name, values in from_record(averaged).items()}
        if config.aggregation == "fedavg-distance":
            own = _averages_by_distance(config, sound)
        found, _ = score(
            grid, round_for_sending(arrays, config.update_precision), "dev", number, names, failed, traffic, own
        )
        if not found:
            raise FedPromptError(
                f"round {number}: no client could score the dev split; client {failed[-1]['client']} "
                f"{failed[-1]['why']}; the finished rounds are kept: mend the cause and give the same command again"
            )
        dev = {name: found[name] for name in config.languages if name in found}
        loss = float(np.mean([scores["loss"] for scores in dev.values()]))
        entry = {
            "round": number,
            "train_loss": metrics["train-loss"],
            "dev_loss": loss,
            "dev": dev,
            "bytes": traffic.totals(),
            "client_bytes": traffic.by_client,
            "failed": failed,
            "seconds": time.perf_counter() - began,
        }
        outcome.rounds.append(entry)
        # A mean over fewer languages cannot be compared: such a round is never the best, unless there is no other.
        if (loss < best_loss and len(dev) == len(config.languages)) or not outcome.best_round:
            best_loss = loss if len(dev) == len(config.languages) else np.inf
            outcome.arrays, outcome.own, outcome.best_round = arrays, own, number
        if checkpoint:
            write_checkpoint(checkpoint, outcome, best_loss, arrays, own, strategy)
        if on_round:
            on_round(entry)
    failed = []
    test, outcome.client_digests = score(
        grid,
        round_for_sending(outcome.arrays, config.update_precision),
        "test",
        outcome.best_round,
        names,
        failed,
        Traffic(config.num_clients),
        outcome.own,
    )
    if absent := [name for name in config.languages + config.unseen if name not in test]:
        raise FedPromptError(
            f"no client could score the test split of {absent[0]}; client {failed[-1]['client']} {failed[-1]['why']}; "
            "the finished rounds are kept: mend the cause and give the same command again"
        )
    outcome.test = {name: test[name] for name in config.languages + config.unseen}
    return outcome


def _prototype_start(grid: Grid, config: RunConfig, names: dict, arrays: Arrays) -> tuple[Arrays, dict]:
    """Give the arrays of the first round, the head made from class sums of all clients; and what the sums took."""
    failed, traffic, clients = [], Traffic(config.num_clients, ("statistics",)), load_clients(config)
    shape = len(clients.task.labels), clients.model.config.hidden_size
    head = prototype_head(list(arrays), statistics(grid, config, shape, names, failed, traffic))
    took = {"bytes": traffic.totals(), "client_bytes": traffic.by_client, "failed": failed}
    return arrays | head, took


def _put_own(messages: list[Message], own: dict[int, Arrays], names: dict) -> None:
    """Put the average of its own into the message to each client that has one."""
    for message in messages:
        if (client := names.get(message.metadata.dst_node_id)) in own:
            message.content = RecordDict({"arrays": to_record(own[client]), "config": message.content["config"]})


def _averages_by_distance(config: RunConfig, sound: list[Message]) -> dict[int, Arrays]:
    """Average the sound updates once for each client, near languages with more weight."""
    senders = [reply.content["metrics"]["partition-id"] for reply in sound]
    examples = [0] * config.num_clients
    for client, reply in zip(senders, sound, strict=True):
        examples[client] = reply.content["metrics"]["num-examples"]
    weights = weights_by_distance(config.client_languages, examples, config.distance_scale)[:, senders]
    return dict(enumerate(average_for_each([from_record(reply.content["arrays"]) for reply in sound], weights)))


def _patience_is_over(config: RunConfig, outcome: Outcome) -> bool:
    """Whether the mean dev loss has not fallen for `patience` epochs, counted as rounds times local epochs."""
    waited = (len(outcome.rounds) - outcome.best_round) * config.local_epochs
    return bool(config.patience and outcome.rounds and waited >= config.patience)


def write_checkpoint(
    path: Path, outcome: Outcome, best_loss: float, arrays: Arrays, own: dict[int, Arrays], strategy: Strategy
) -> None:
    """Keep everything that the next round needs; the file is whole or not there."""
    state = {name: value for name, value in vars(strategy).items() if not callable(value)}
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps((outcome, best_loss, arrays, own, state)))
    temporary.replace(path)


def read_checkpoint(path: Path) -> tuple | None:
    """Read a checkpoint that this package wrote, or return None if there is none to be read."""
    try:
        outcome, best_loss, arrays, own, state = pickle.loads(path.read_bytes())
        return outcome, best_loss, arrays, own, state
    except Exception:  # a damaged pickle can raise nearly anything
        return None
