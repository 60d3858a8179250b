"""What the book's federation adds to Flower's strategies: a mixin in front of FedAvg or any of its kin (chapter 6).

``strategy.start`` runs the rounds. The mixin leaves out what is unsound, scores by language, counts bytes, stops early
(a round without messages changes nothing) and keeps every finished round.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedProx, Krum

from ..clients import scored_by
from ..data.distance import weights_by_distance
from ..errors import FedPromptError
from ..model.training import Scores, goodness
from .messages import Arrays, from_record, message_bytes, round_for_sending, to_record, unpack_update
from .state import Job

ATTEMPTS = 3  # how often scoring is asked of a client before a round goes on without it; scoring changes nothing
WAIT = os.environ.get("FEDPROMPT_TIMEOUT") or str(24 * 3600)
if not WAIT.isdecimal() or int(WAIT) < 1:
    raise FedPromptError(f"FEDPROMPT_TIMEOUT is {WAIT!r}, expected whole seconds, at least 1; change it or unset it")
TIMEOUT = int(WAIT)  # seconds to wait for the replies to a question
KEPT = "the finished rounds are kept: mend the cause and give the same command again"


class Exchange:
    """What a job asks of its clients, for example in one round: bytes by way and client, and who failed and why."""

    def __init__(self, job: Job):
        self.job, self.failed, self.bytes, self.own, self.asked = job, [], {}, {}, set()

    def facts(self) -> dict:
        """Return what it took, as a run record has it."""
        totals = {way: sum(sizes) for way, sizes in self.bytes.items()}
        return {"bytes": totals, "client_bytes": self.bytes, "failed": self.failed}

    def _count(self, way: str, client: int, message: Message) -> None:
        way = f"{message.metadata.message_type.rpartition('.')[2]}_{way}"
        self.bytes.setdefault(way, [0] * self.job.clients)[client] += message_bytes(message)

    def send(self, messages: Iterable[Message]) -> list[Message]:
        """Put a client's own average into its message where there is one, and count the bytes."""
        messages, names = list(messages), self.job.names
        self.asked = {names[message.metadata.dst_node_id] for message in messages}
        for message in messages:
            client = self.job.names[message.metadata.dst_node_id]
            if str(client) in self.job.own:
                own = to_record(self.job.own[str(client)])
                message.content = RecordDict({"arrays": own, "config": message.content["config"]})
            self._count("down", client, message)
        return messages

    def take(self, replies: Iterable[Message], read: Callable[[int, Message], Any]) -> dict[int, Any]:
        """Read the replies in the order of the clients; who failed, or sent what `read` refuses, is written down."""
        found, names, silent, replies = {}, self.job.names, self.asked, list(replies)
        lost = [reply for reply in replies if reply.metadata.src_node_id not in names]  # a SuperLink's, of a dead node
        replies = [reply for reply in replies if reply.metadata.src_node_id in names]
        for reply in sorted(replies, key=lambda reply: names[reply.metadata.src_node_id]):
            client = names[reply.metadata.src_node_id]
            self._count("up", client, reply)
            silent = silent - {client}
            try:
                if reply.has_error():
                    raise FedPromptError(why(reply.error.reason))
                found[client] = read(client, reply)
            except (FedPromptError, KeyError) as error:
                said = f"sent no {error.args[0]}" if isinstance(error, KeyError) else str(error)
                self.failed.append({"client": client, "why": said})
        late = f"did not answer: {lost[0].error.reason}" if lost else f"did not answer within {TIMEOUT} seconds"
        self.failed += [{"client": client, "why": late} for client in sorted(silent)]
        return found

    def ask(self, grid: Grid, kind: str, records: dict, read: Callable, attempts: int = 1) -> dict[int, Any]:
        """Send the same to all clients and read the replies; who fails is asked again, `attempts` times in all."""
        found = {}
        for _ in range(attempts):
            waiting = [node for node in sorted(self.job.names) if self.job.names[node] not in found]
            asked = [Message(RecordDict(records), dst_node_id=node, message_type=kind) for node in waiting]
            if asked:
                found |= self.take(grid.send_and_receive(self.send(asked), timeout=TIMEOUT), read)
        return dict(sorted(found.items()))

    def score(self, grid: Grid, arrays: Arrays, number: int, split: str) -> tuple[dict[str, dict], list[str]]:
        """Let the clients score a round: scores by language, and backbone digests.

        The languages of a client that fails every time are not among the scores. A model of its own that a client was
        asked for by ``send-own`` is in `own`, by its number.
        """
        config = self.job.config
        languages = config.data.languages + (config.data.unseen if split == "test" else ())

        def read(client: int, reply: Message) -> tuple[dict, Any]:
            records: Mapping = reply.content.metric_records
            names = [name for name in languages if name in scored_by(config, client)]
            found = {name: dict(records.get(f"scores.{name}", {})) for name in names}
            for name, scores in found.items():
                values = [scores.get(field) for field in Scores._fields]
                if not all(isinstance(value, int | float) and np.isfinite(value) for value in values):
                    raise FedPromptError(f"sent {split} scores of {name} that are missing or not finite numbers")
            if sent := reply.content.array_records.get("own"):
                self.own[str(client)] = from_record(sent)
            return found, reply.content.config_records.get("proof", {}).get("backbone-digest")

        settings = self.job.settings(split=split, **{"server-round": number, "send-own": self.job.send_own})
        rounded = to_record(round_for_sending(arrays, config.federation.update_precision))
        replies = self.ask(grid, "evaluate", {"arrays": rounded, "config": settings}, read, ATTEMPTS).values()
        found = {name: scores for one, _ in replies for name, scores in one.items()}
        return {name: found[name] for name in languages if name in found}, [digest for _, digest in replies if digest]

    def check_share(self, found: dict, where: str, what: str, then: str) -> None:
        """Refuse to go on with fewer clients than the configuration asks for."""
        share, clients = self.job.config.federation.min_share, self.job.clients
        if len(found) < max(1, share * clients):
            raise FedPromptError(
                f"{where}only {len(found)} of {clients} clients sent {what}, fewer than the share of {share}; "
                f"{self.who()}; {then}"
            )

    def who(self) -> str:
        """Name the client that failed last and why."""
        return "client {client} {why}".format(**self.failed[-1]) if self.failed else "no client answered in time"


class Measured(FedAvg):
    """In front of FedAvg or its kin: sound replies only, by client; scores, bytes, early stopping, checkpoints."""

    def __init__(self, job: Job, **options):
        super().__init__(min_train_nodes=job.clients, min_available_nodes=job.clients, **options)
        self.job = job

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid):
        """Prepare the messages of a round, unless patience is over."""
        job, training, done = self.job, self.job.config.training, len(self.job.outcome.rounds)
        waited = (done - job.outcome.best_round) * training.local_epochs  # epochs without a lower mean dev loss
        self.number, self.over = done + 1, bool(training.patience and done and waited >= training.patience)
        if self.over:
            return []
        self.began, self.exchange = time.perf_counter(), Exchange(job)
        self.sent = round_for_sending(from_record(arrays), job.config.federation.update_precision)
        config["best-round"] = job.outcome.best_round
        return self.exchange.send(super().configure_train(self.number, to_record(self.sent), config, grid))

    def aggregate_train(self, server_round: int, replies: Iterable[Message]):
        """Average the sound replies, in the order of the clients."""
        if self.over:
            return None, None
        job, sound = self.job, self.exchange.take(replies, self.sound)
        self.exchange.check_share(sound, f"round {self.number}: ", "a sound update", KEPT)
        job.outcome.message_parameters = sum(array.size for array in self.sent.values())
        averaged, metrics = super().aggregate_train(self.number, sound.values())
        job.arrays = {name: values.astype(np.float32) for name, values in from_record(averaged).items()}
        self.train_loss = (metrics or {})["train-loss"]
        if job.config.federation.aggregation == "fedavg-distance":
            contents: dict[int, Any] = {client: reply.content for client, reply in sound.items()}
            examples = [contents[i]["metrics"]["num-examples"] if i in sound else 0 for i in range(job.clients)]
            scale, updates = job.config.federation.distance_scale, [from_record(x["arrays"]) for x in contents.values()]
            weights = weights_by_distance(job.config.client_languages, examples, scale)[:, list(sound)]
            job.own = {str(i): arrays for i, arrays in enumerate(average_for_each(updates, weights))}
        return to_record(job.arrays), metrics

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid):
        """Let the clients score the round on their dev splits, and write it down; Flower has nothing left to send."""
        if self.over:
            return []
        job, exchange = self.job, self.exchange
        has_dev = any(sizes["dev"] for one in job.outcome.about for sizes in one["examples"].values())
        dev = exchange.score(grid, job.arrays, self.number, "dev")[0] if has_dev else {}
        if has_dev and not dev:
            raise FedPromptError(f"round {self.number}: no client could score the dev split; {exchange.who()}; {KEPT}")
        entry = {"round": self.number, "train_loss": self.train_loss, "dev": dev, **exchange.facts()}
        found = self.number  # without dev the last round is best
        if dev:
            mean = Scores._make(float(np.mean([one[name] for one in dev.values()])) for name in Scores._fields)
            entry["dev_loss"] = mean.loss
            # A mean over fewer languages cannot be compared: such a round is not the best.
            whole = len(dev) == len(job.config.data.languages)
            found = goodness(mean, job.config.training.best_by) if whole else -np.inf
        job.outcome.rounds.append(entry | {"seconds": time.perf_counter() - self.began})
        if found > job.best or not job.outcome.best_round:
            job.best, job.outcome.best_round = found, self.number
            job.outcome.arrays, job.outcome.own = job.arrays, job.own
        job.save(self, grid)
        job.tell(job.outcome.rounds[-1])
        return []

    def sound(self, client: int, reply: Message) -> Message:
        """Return a reply with float32 arrays that can be averaged, or say what is unsound in it."""
        arrays, metrics = reply.content.array_records["arrays"], reply.content.metric_records["metrics"]
        examples, loss = metrics.get("num-examples"), metrics.get("train-loss")
        if not (isinstance(examples, int) and examples > 0):
            raise FedPromptError(f"sent {examples!r} as its number of examples")
        if not (isinstance(loss, float) and np.isfinite(loss)):
            raise FedPromptError(f"sent {loss!r} as its training loss")
        update = unpack_update(from_record(arrays), self.sent, self.job.config.federation.update_precision)
        known = MetricRecord({"num-examples": examples, "train-loss": loss})
        reply.content = RecordDict({"arrays": to_record(update), "metrics": known})
        return reply


def average_for_each(updates: list[Arrays], weights: np.ndarray) -> list[Arrays]:
    """Average the clients once for each row of weights, which adds up to 1: float32 arrays, one set a row."""

    def average(row: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(sum(weight * each[name] for weight, each in zip(row, updates, strict=True)), np.float32)

    return [{name: average(row, name) for name in updates[0]} for row in weights]


def make_strategy(job: Job) -> Measured:
    """Choose Flower's strategy, with what the book adds in front of it."""
    chosen = job.config.federation
    rate, momentum = chosen.server_learning_rate, chosen.server_momentum
    base, options = {
        "fedavg": (FedAvg, {}),
        "fedavg-distance": (FedAvg, {}),
        "fedprox": (FedProx, {"proximal_mu": chosen.proximal_mu}),
        "fedavgm": (FedAvgM, {"server_learning_rate": rate, "server_momentum": momentum}),
        "fedadam": (FedAdam, {"eta": rate, "beta_1": momentum}),
        "fedmedian": (FedMedian, {}),
        "krum": (Krum, {"num_malicious_nodes": 1}),
    }[chosen.aggregation]
    return type(f"Measured{base.__name__}", (Measured, base), {})(job, **options)


def why(reason: str | None) -> str:
    """Shorten an account of an error to its last line, whichever runtime gave it."""
    lines = [line.strip().removesuffix("'>") for line in (reason or "").splitlines() if line.strip()]
    last = lines[-1] if lines else "something, without a reason"
    line = (last.partition("occurred. Message: ")[2] or last)[:300]
    if found := re.match(r"<class '(?:\w+\.)*(\w+)'>:<'(.*)", line):  # as a SuperNode puts it
        line = f"{found[1]}: {found[2]}"
    return line if line.startswith(("raised ", "did not ")) else f"raised {line}"
