"""What the book's federation adds to Flower's strategies: a mixin in front of FedAvg or any of its kin (chapter 6).

``strategy.start`` runs the rounds. The mixin leaves out what is unsound, scores by language, counts bytes, stops early
(a round without messages changes nothing) and keeps every finished round.
"""

import re
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedProx, Krum

from ..clients import scored_by
from ..data.distance import weights_by_distance
from ..errors import FedPromptError
from ..model.training import Scores
from .messages import Arrays, Traffic, content, from_record, round_for_sending, to_record, unpack_update
from .state import Job

ATTEMPTS = 3  # how often scoring is asked of a client before a round goes on without it; scoring changes nothing
KEPT = "the finished rounds are kept: mend the cause and give the same command again"


class Measured(FedAvg):
    """In front of FedAvg or its kin: sound replies only, by client; scores, bytes, early stopping, checkpoints."""

    def __init__(self, job: Job, **options):
        """Ask every client in every round; a round goes on with fewer if some do not answer."""
        n = job.clients
        super().__init__(min_train_nodes=n, min_evaluate_nodes=n, min_available_nodes=n, **options)
        self.job = job

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid):
        """Prepare the messages of a round, unless patience is over."""
        job = self.job
        self.number, self.over = len(job.outcome.rounds) + 1, job.patience_is_over()
        if self.over:
            return []
        self.began, self.failed = time.perf_counter(), []
        self.traffic = Traffic(job.clients, "train", "evaluate")
        self.sent = round_for_sending(from_record(arrays), job.config.federation.update_precision)
        config["best-round"] = job.outcome.best_round
        return send(job, super().configure_train(self.number, to_record(self.sent), config, grid), self.traffic)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]):
        """Average the sound replies, in the order of the clients."""
        if self.over:
            return None, None
        job, share = self.job, self.job.config.federation.min_share
        sound = self.sound(take(job, replies, self.failed, self.traffic))
        if len(sound) < max(1, share * job.clients):
            raise FedPromptError(
                f"round {self.number}: only {len(sound)} of {job.clients} clients sent a sound update, fewer than the "
                f"share of {share}; {who(self.failed[:1])}; {KEPT}"
            )
        job.outcome.message_parameters = sum(array.size for array in self.sent.values())
        averaged, metrics = super().aggregate_train(self.number, sound)
        job.arrays = {name: values.astype(np.float32) for name, values in from_record(averaged).items()}
        job.own, self.train_loss = self.averages_of_their_own(sound), (metrics or {})["train-loss"]
        return to_record(job.arrays), metrics

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid):
        """Prepare the scoring of a round on the dev splits."""
        if self.over:
            return []
        config["split"], self.grid = "dev", grid
        rounded = round_for_sending(from_record(arrays), self.job.config.federation.update_precision)
        messages = super().configure_evaluate(self.number, to_record(rounded), config, grid)
        self.asked = send(self.job, messages, self.traffic)
        return self.asked

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]):
        """Write down the round: dev scores by language, bytes, who failed; remember the best."""
        if self.over:
            return None
        job, languages = self.job, self.job.config.data.languages
        found, _ = collect_scores(job, self.grid, self.asked, replies, "dev", self.failed, self.traffic)
        if not found:
            reason = who(self.failed[-1:])
            raise FedPromptError(f"round {self.number}: no client could score the dev split; {reason}; {KEPT}")
        dev = {name: found[name] for name in languages if name in found}
        loss = float(np.mean([scores["loss"] for scores in dev.values()]))
        entry = {"round": self.number, "train_loss": self.train_loss, "dev_loss": loss, "dev": dev}
        entry |= {"bytes": self.traffic.totals(), "client_bytes": self.traffic.by_client, "failed": self.failed}
        entry["seconds"] = time.perf_counter() - self.began
        job.finish_round(entry, all_scored=len(dev) == len(languages))
        job.save(self, self.grid)
        job.tell(entry)
        return MetricRecord({"dev-loss": loss})

    def sound(self, replies: list[Message]) -> list[Message]:
        """Keep the replies that can be averaged, as float32 arrays; write down the others as failed."""
        job, sound = self.job, []
        for reply in replies:
            client = job.names[reply.metadata.src_node_id]
            try:
                if "arrays" not in reply.content.array_records:
                    raise FedPromptError("sent no arrays")
                if "metrics" not in reply.content.metric_records:
                    raise FedPromptError("sent no metrics")
                metrics = dict(reply.content["metrics"])
                examples, loss = metrics.get("num-examples"), metrics.get("train-loss")
                if not (isinstance(examples, int) and examples > 0):
                    raise FedPromptError(f"sent {examples!r} as its number of examples")
                if not (isinstance(loss, float) and np.isfinite(loss)):
                    raise FedPromptError(f"sent {loss!r} as its training loss")
                arrays, precision = from_record(reply.content["arrays"]), job.config.federation.update_precision
                update = unpack_update(arrays, self.sent, precision)
            except FedPromptError as error:
                self.failed.append({"client": client, "why": str(error)})
                continue
            metrics = MetricRecord({"partition-id": client, "num-examples": examples, "train-loss": loss})
            reply.content = RecordDict({"arrays": to_record(update), "metrics": metrics})
            sound.append(reply)
        return sound

    def averages_of_their_own(self, sound: list[Message]) -> dict[str, Arrays]:
        """Average for single clients; here none has an average of its own."""
        return {}


class ByDistance(Measured):
    """Each client gets an average of its own, in which clients of near languages weigh more."""

    def averages_of_their_own(self, sound: list[Message]) -> dict[str, Arrays]:
        """Average once for each client, by the weights of ``weights_by_distance``."""
        config, examples = self.job.config, [0] * self.job.clients
        senders = [content(reply)["metrics"]["partition-id"] for reply in sound]
        for client, reply in zip(senders, sound, strict=True):
            examples[client] = content(reply)["metrics"]["num-examples"]
        weights = weights_by_distance(config.client_languages, examples, config.federation.distance_scale)[:, senders]
        averages = average_for_each([from_record(reply.content["arrays"]) for reply in sound], weights)
        return {str(client): arrays for client, arrays in enumerate(averages)}


def average_for_each(updates: list[Arrays], weights: np.ndarray) -> list[Arrays]:
    """Average the clients once for each row of weights, which adds up to 1: float32 arrays, one set a row."""

    def average(row: np.ndarray, name: str) -> np.ndarray:
        parts = (weight * update[name] for weight, update in zip(row, updates, strict=True))
        return np.asarray(sum(parts), dtype=np.float32)

    return [{name: average(row, name) for name in updates[0]} for row in weights]


def make_strategy(job: Job) -> Measured:
    """Choose Flower's strategy, with what the book adds in front of it."""
    chosen = job.config.federation
    rate, momentum = chosen.server_learning_rate, chosen.server_momentum
    if chosen.aggregation in ("fedavg", "fedavg-distance"):
        return Measured(job) if chosen.aggregation == "fedavg" else ByDistance(job)
    base, options = {
        "fedprox": (FedProx, {"proximal_mu": chosen.proximal_mu}),
        "fedavgm": (FedAvgM, {"server_learning_rate": rate, "server_momentum": momentum}),
        "fedadam": (FedAdam, {"eta": rate, "beta_1": momentum}),
        "fedmedian": (FedMedian, {}),
        "krum": (Krum, {"num_malicious_nodes": 1}),
    }[chosen.aggregation]
    return type(f"Measured{base.__name__}", (Measured, base), {})(job, **options)


def send(job: Job, messages: Iterable[Message], traffic: Traffic) -> list[Message]:
    """Put a client's own average into its message where there is one, and count the bytes."""
    messages = list(messages)
    for message in messages:
        client = job.names[message.metadata.dst_node_id]
        if str(client) in job.own:
            own = to_record(job.own[str(client)])
            message.content = RecordDict({"arrays": own, "config": message.content["config"]})
        traffic.add(f"{_kind(message)}_down", client, message)
    return messages


def take(job: Job, replies: Iterable[Message], failed: list[dict], traffic: Traffic) -> list[Message]:
    """Return the good replies by client, count bytes, and add who failed and why to `failed`."""
    good = []
    for reply in sorted(replies, key=lambda reply: job.names[reply.metadata.src_node_id]):
        client = job.names[reply.metadata.src_node_id]
        traffic.add(f"{_kind(reply)}_up", client, reply)
        if reply.has_error():
            failed.append({"client": client, "why": why(reply.error.reason)})
        else:
            good.append(reply)
    return good


def why(reason: str | None) -> str:
    """Shorten an account of an error to its last line, whichever runtime gave it."""
    lines = [line.strip().removesuffix("'>") for line in (reason or "").splitlines() if line.strip()]
    last = lines[-1] if lines else "something, without a reason"
    line = (last.partition("occurred. Message: ")[2] or last)[:300]
    if found := re.match(r"<class '(?:\w+\.)*(\w+)'>:<'(.*)", line):  # as a SuperNode puts it
        line = f"{found[1]}: {found[2]}"
    return line if line.startswith(("raised ", "did not ")) else f"raised {line}"


def who(failed: list[dict]) -> str:
    """Name the client that failed and why."""
    return f"client {failed[0]['client']} {failed[0]['why']}" if failed else "no client answered in time"


def collect_scores(
    job: Job, grid: Grid, asked: list[Message], replies: Iterable[Message], split: str, failed: list, traffic: Traffic
) -> tuple[dict, list[str]]:
    """Collect scores by language, and backbone digests; a client that failed is asked again, `ATTEMPTS` times in all.

    The languages of a client that fails every time are not among the scores.
    """
    scores, digests, waiting = {}, [], {message.metadata.dst_node_id: message for message in asked}
    for attempt in range(ATTEMPTS):
        if attempt:
            again = [
                Message(waiting[n].content, dst_node_id=n, message_type=MessageType.EVALUATE) for n in sorted(waiting)
            ]
            replies = grid.send_and_receive(send(job, again, traffic))
        for reply in take(job, replies, failed, traffic):
            client, records = job.names[reply.metadata.src_node_id], reply.content.metric_records
            names = [n for n in scored_by(job.config, client) if split == "test" or n in job.config.data.languages]
            found: dict[str, Any] = {name: dict(records.get(f"scores.{name}", {})) for name in names}
            if wrong := [name for name in names if not _finite(found[name])]:
                reason = f"sent {split} scores of {wrong[0]} that are missing or not finite numbers"
                failed.append({"client": client, "why": reason})
                continue
            waiting.pop(reply.metadata.src_node_id, None)
            scores |= found
            if "proof" in reply.content:
                digests.append(reply.content["proof"]["backbone-digest"])
        if not waiting:
            break
    return scores, digests


def _finite(scores: dict[str, Any]) -> bool:
    """Whether all scores are there, and are finite numbers."""
    return all(isinstance(scores.get(x), int | float) and np.isfinite(scores[x]) for x in Scores._fields)


def _kind(message: Message) -> str:
    """Name the way a message belongs to: train, evaluate, or the name of an action of this book."""
    return message.metadata.message_type.rpartition(".")[2]
