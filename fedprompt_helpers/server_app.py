"""The ServerApp: rounds of training and scoring, checkpointed, going on without clients that fail."""

import dataclasses
import pickle
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedProx, Krum, Strategy

from .accounting import is_head
from .clients import load_clients
from .config import RunConfig
from .errors import FedPromptError
from .simulation import WorkerDied, look_often
from .updates import Arrays, from_record, message_bytes, round_for_sending, to_record, unpack_update

OnRound = Callable[[dict], None]
ATTEMPTS = 3
"""How often scoring is asked of a client before the run gives up; scoring changes nothing, so it can be repeated."""


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
    best_round : int
        That round.
    test : dict
        Per language: loss, accuracy, macro-F1 and examples of the official test split.
    message_parameters : int
        Numbers in the arrays that a client sends back.
    client_digests : list of str
        ``accounting.backbone_digest`` of the backbone in each client's process after the last round.
    """

    rounds: list[dict] = dataclasses.field(default_factory=list)
    arrays: Arrays = dataclasses.field(default_factory=dict)
    best_round: int = 0
    test: dict = dataclasses.field(default_factory=dict)
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
    outcome, best_loss = Outcome(arrays=arrays), np.inf
    if checkpoint and (kept := read_checkpoint(checkpoint)):
        outcome, best_loss, arrays, state = kept
        vars(strategy).update(state)
        for entry in outcome.rounds if on_round else ():
            on_round(entry | {"resumed": True})
    while len(list(grid.get_node_ids())) < config.num_clients:
        time.sleep(0.05)
    names = _names(grid)
    for number in range(len(outcome.rounds) + 1, config.rounds + 1):
        if _patience_is_over(config, outcome):
            break
        began, failed, traffic = time.perf_counter(), [], Traffic(config.num_clients)
        sent = round_for_sending(arrays, config.update_precision)
        messages = strategy.configure_train(number, to_record(sent), ConfigRecord(), grid)
        replies = _exchange(grid, messages, names, failed, traffic)
        sound = _sound(replies, sent, config, names, failed)
        if len(sound) < max(1, config.min_share * config.num_clients):
            raise FedPromptError(
                f"round {number}: only {len(sound)} of {config.num_clients} clients sent a sound update, fewer than "
                f"the share of {config.min_share}; client {failed[0]['client']} {failed[0]['why']}; the finished "
                "rounds are kept: mend the cause and give the same command again"
            )
        outcome.message_parameters = sum(array.size for array in sent.values())
        averaged, metrics = strategy.aggregate_train(number, sound)
        arrays = {name: values.astype(np.float32) for name, values in from_record(averaged).items()}
        found, _ = _score(grid, arrays, "dev", number, names, failed, traffic)
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
            outcome.arrays, outcome.best_round = arrays, number
        if checkpoint:
            write_checkpoint(checkpoint, outcome, best_loss, arrays, strategy)
        if on_round:
            on_round(entry)
    failed = []
    test, outcome.client_digests = _score(
        grid, outcome.arrays, "test", outcome.best_round, names, failed, Traffic(config.num_clients)
    )
    if absent := [name for name in config.languages + config.unseen if name not in test]:
        raise FedPromptError(
            f"no client could score the test split of {absent[0]}; client {failed[-1]['client']} {failed[-1]['why']}; "
            "the finished rounds are kept: mend the cause and give the same command again"
        )
    outcome.test = {name: test[name] for name in config.languages + config.unseen}
    return outcome


def _patience_is_over(config: RunConfig, outcome: Outcome) -> bool:
    """Whether the mean dev loss has not fallen for `patience` epochs, counted as rounds times local epochs."""
    waited = (len(outcome.rounds) - outcome.best_round) * config.local_epochs
    return bool(config.patience and outcome.rounds and waited >= config.patience)


def write_checkpoint(path: Path, outcome: Outcome, best_loss: float, arrays: Arrays, strategy: Strategy) -> None:
    """Keep everything that the next round needs; the file is whole or not there."""
    state = {name: value for name, value in vars(strategy).items() if not callable(value)}
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps((outcome, best_loss, arrays, state)))
    temporary.replace(path)


def read_checkpoint(path: Path) -> tuple | None:
    """Read a checkpoint that this package wrote, or return None if there is none to be read."""
    try:
        outcome, best_loss, arrays, state = pickle.loads(path.read_bytes())
        return outcome, best_loss, arrays, state
    except Exception:  # a damaged pickle can raise nearly anything
        return None


def _names(grid: Grid) -> dict[int, int]:
    """Ask every node which client it is: node id to partition id."""
    content = RecordDict({"config": ConfigRecord({})})
    nodes = list(grid.get_node_ids())
    replies = grid.send_and_receive(
        [Message(content, dst_node_id=node, message_type=MessageType.QUERY) for node in nodes]
    )
    return {
        reply.metadata.src_node_id: reply.content["metrics"]["partition-id"]
        for reply in replies
        if not reply.has_error()
    }


WAYS = ("train_down", "train_up", "evaluate_down", "evaluate_up")


class Traffic:
    """Bytes of the messages of one round: ``by_client`` holds for each way a list with one number a client."""

    def __init__(self, clients: int):
        """Begin with nothing sent."""
        self.by_client = {way: [0] * clients for way in WAYS}

    def add(self, way: str, client: int | None, message: Message) -> None:
        """Count a message; a client whose name is not known counts for none."""
        if client is not None:
            self.by_client[way][client] += message_bytes(message)

    def totals(self) -> dict[str, int]:
        """Add up the clients."""
        return {way: sum(sizes) for way, sizes in self.by_client.items()}


def _exchange(
    grid: Grid, messages: Iterable[Message], names: dict, failed: list[dict], traffic: Traffic
) -> list[Message]:
    """Send messages and wait; return the replies by client, count bytes, and add who failed and why to `failed`."""
    messages, good = list(messages), []
    kind = messages[0].metadata.message_type if messages else MessageType.TRAIN
    for message in messages:
        traffic.add(f"{kind}_down", names.get(message.metadata.dst_node_id), message)
    for reply in grid.send_and_receive(messages):
        client = names.get(reply.metadata.src_node_id)
        traffic.add(f"{kind}_up", client, reply)
        if reply.has_error():
            failed.append({"client": client, "why": _why(reply.error.reason)})
        else:
            good.append(reply)
    return sorted(good, key=lambda reply: names[reply.metadata.src_node_id])


def _why(reason: str) -> str:
    """Shorten Flower's account of an error to its last line."""
    if WorkerDied.__name__ in reason:
        return "did not answer: its process died"
    lines = [line.strip().removesuffix("'>") for line in reason.strip().splitlines() if line.strip()]
    lines = [line.partition("occurred. Message: ")[2] or line for line in lines]
    return f"raised {lines[-1][:200]}" if lines else "failed without a reason"


def _sound(replies: list[Message], sent: Arrays, config: RunConfig, names: dict, failed: list) -> list[Message]:
    """Keep the replies that can be averaged, as float32 arrays; add the others to `failed`."""
    sound = []
    for reply in replies:
        client = names[reply.metadata.src_node_id]
        try:
            if absent := {"arrays", "metrics"} - set(reply.content):
                raise FedPromptError(f"sent no {min(absent)}")
            metrics = dict(reply.content["metrics"])
            examples, loss = metrics.get("num-examples"), metrics.get("train-loss")
            if not (isinstance(examples, int) and examples > 0):
                raise FedPromptError(f"sent {examples!r} as its number of examples")
            if not (isinstance(loss, float) and np.isfinite(loss)):
                raise FedPromptError(f"sent {loss!r} as its training loss")
            update = unpack_update(from_record(reply.content["arrays"]), sent, config.update_precision)
        except FedPromptError as error:
            failed.append({"client": client, "why": str(error)})
            continue
        metrics = MetricRecord({"partition-id": client, "num-examples": examples, "train-loss": loss})
        reply.content = RecordDict({"arrays": to_record(update), "metrics": metrics})
        sound.append(reply)
    return sound


def _score(
    grid: Grid, arrays: Arrays, split: str, number: int, names: dict, failed: list[dict], traffic: Traffic
) -> tuple[dict, list[str]]:
    """Let the clients score `arrays`; return scores per language, and backbone digests.

    A client that fails is asked again, ``ATTEMPTS`` times in all: scoring changes nothing. Each failure is added to
    `failed`; the languages of a client that fails every time are not among the scores.
    """
    config = ConfigRecord({"split": split, "server-round": number})
    content = RecordDict({"arrays": to_record(arrays), "config": config})
    waiting, scores, digests = set(grid.get_node_ids()), {}, []
    for _ in range(ATTEMPTS):
        messages = [Message(content, dst_node_id=n, message_type=MessageType.EVALUATE) for n in sorted(waiting)]
        for reply in _exchange(grid, messages, names, failed, traffic):
            found = {
                key.removeprefix("scores."): dict(record)
                for key, record in reply.content.items()
                if key.startswith("scores.")
            }
            values = [value for measured in found.values() for value in measured.values()]
            if not np.isfinite(values).all():
                client = names[reply.metadata.src_node_id]
                failed.append({"client": client, "why": f"sent {split} scores that are not finite numbers"})
                continue
            waiting.discard(reply.metadata.src_node_id)
            scores |= found
            if "proof" in reply.content:
                digests.append(reply.content["proof"]["backbone-digest"])
        if not waiting:
            break
    return scores, digests
