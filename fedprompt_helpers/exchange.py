"""Messages to the clients and back: their bytes counted, what is unsound left out, who failed written down."""

from collections.abc import Iterable

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid

from . import head_start
from .client_app import STATISTICS
from .config import RunConfig
from .errors import FedPromptError
from .simulation import WorkerDied
from .updates import Arrays, from_record, message_bytes, to_record, unpack_update

ATTEMPTS = 3
"""How often scoring is asked of a client before the run gives up; scoring changes nothing, so it can be repeated."""


def client_names(grid: Grid) -> dict[int, int]:
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


class Traffic:
    """Bytes of the messages of one round: ``by_client`` holds for each way a list with one number a client."""

    def __init__(self, clients: int, kinds: tuple[str, ...] = ("train", "evaluate")):
        """Begin with nothing sent."""
        self.by_client = {f"{kind}_{way}": [0] * clients for kind in kinds for way in ("down", "up")}

    def add(self, way: str, client: int | None, message: Message) -> None:
        """Count a message; a client whose name is not known counts for none."""
        if client is not None:
            self.by_client[way][client] += message_bytes(message)

    def totals(self) -> dict[str, int]:
        """Add up the clients."""
        return {way: sum(sizes) for way, sizes in self.by_client.items()}


def exchange(
    grid: Grid, messages: Iterable[Message], names: dict, failed: list[dict], traffic: Traffic
) -> list[Message]:
    """Send messages and wait; return the replies by client, count bytes, and add who failed and why to `failed`."""
    messages, good = list(messages), []
    kind = (messages[0].metadata.message_type if messages else MessageType.TRAIN).rpartition(".")[2]
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


def sound_updates(replies: list[Message], sent: Arrays, config: RunConfig, names: dict, failed: list) -> list[Message]:
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


def score(
    grid: Grid,
    arrays: Arrays,
    split: str,
    number: int,
    names: dict,
    failed: list[dict],
    traffic: Traffic,
    own: dict[int, Arrays] | None = None,
) -> tuple[dict, list[str]]:
    """Let the clients score `arrays`, or what is in `own` for a client; return scores per language, backbone digests.

    A client that fails is asked again, ``ATTEMPTS`` times in all: scoring changes nothing. Each failure is added to
    `failed`; the languages of a client that fails every time are not among the scores.
    """
    config = ConfigRecord({"split": split, "server-round": number})
    content = RecordDict({"arrays": to_record(arrays), "config": config})
    contents = {
        client: RecordDict({"arrays": to_record(of_its_own), "config": config})
        for client, of_its_own in (own or {}).items()
    }
    waiting, scores, digests = set(grid.get_node_ids()), {}, []
    for _ in range(ATTEMPTS):
        messages = [
            Message(contents.get(names.get(n), content), dst_node_id=n, message_type=MessageType.EVALUATE)
            for n in sorted(waiting)
        ]
        for reply in exchange(grid, messages, names, failed, traffic):
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


def statistics(
    grid: Grid, config: RunConfig, shape: tuple[int, int], names: dict, failed: list[dict], traffic: Traffic
) -> Arrays:
    """Ask every client for the class sums of its features and add them up, see ``head_start``.

    Raises
    ------
    FedPromptError
        If fewer than ``config.min_share`` of the clients sent sound sums.
    """
    content = RecordDict({"config": ConfigRecord({})})
    kind = f"{MessageType.QUERY}.{STATISTICS}"
    messages = [Message(content, dst_node_id=node, message_type=kind) for node in sorted(grid.get_node_ids())]
    classes, hidden = shape
    shapes, parts = {"sums": (classes, hidden), "squares": (hidden,), "counts": (classes,)}, []
    for reply in exchange(grid, messages, names, failed, traffic):
        sums = from_record(reply.content["arrays"]) if "arrays" in reply.content else {}
        if {name: x.shape for name, x in sums.items()} != shapes or not all(
            np.isfinite(x).all() for x in sums.values()
        ):
            failed.append({"client": names[reply.metadata.src_node_id], "why": "sent class sums that are not sound"})
        else:
            parts.append(sums)
    if len(parts) < max(1, config.min_share * config.num_clients):
        raise FedPromptError(
            f"only {len(parts)} of {config.num_clients} clients sent sound class sums for the start of the head, fewer "
            f"than the share of {config.min_share}; client {failed[0]['client']} {failed[0]['why']}; mend the cause, "
            "or leave head_start at 'random'"
        )
    return head_start.add_up(parts)
