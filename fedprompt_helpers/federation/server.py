"""The server: who is there, where everything starts, the rounds, the test; or training without a federation."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from ..clients import model, nodes
from ..config import RunConfig
from ..data.tasks import task_labels
from ..errors import FedPromptError
from ..model.counting import backbone_digest, is_head
from ..model.head_start import add_up, start_head
from .client import ABOUT, ALONE, STATISTICS
from .messages import Traffic, content, from_record, round_for_sending, to_record
from .state import Job, Outcome, read_back, read_state, write_state
from .strategies import KEPT, collect_scores, make_strategy, send, take, who, why

JOIN = 300  # seconds to wait for all clients; on real machines they join one by one
TIMEOUT = 24 * 3600  # seconds to wait for the replies of a round


def serve(
    grid: Grid, config: RunConfig, *, folder: Path | None = None, tell: Callable[[dict], None] = lambda entry: None
) -> Outcome:
    """Run one configuration over a grid, whichever runtime it belongs to.

    Finished rounds, or trainings, are kept in `folder`; what is there already is not done twice. `tell` is called with
    the entry of each round; what was read from `folder` carries ``resumed=True``.
    """
    job = _meet(grid, config, folder, tell)
    if config.federation.setting != "federated":
        return _alone(grid, job)
    frozen, shared = model(config, job.labels, "cpu"), config.federation.head == "shared"
    job.arrays = job.outcome.arrays = {n: x for n, x in frozen.initial.items() if shared or not is_head(n)}
    strategy = make_strategy(job)
    job.go_on(strategy, grid)
    for entry in job.outcome.rounds:
        tell(entry | {"resumed": True})
    if config.model.head_start == "prototypes" and not job.outcome.rounds:
        _prototype_start(grid, job, (len(job.labels), frozen.model.config.hidden_size))  # type: ignore
    rounds = config.federation.rounds - len(job.outcome.rounds)
    settings: Any = {"train_config": _settings(job), "evaluate_config": _settings(job)}
    strategy.start(grid, to_record(job.arrays), num_rounds=rounds, timeout=TIMEOUT, **settings)
    _test(grid, job)
    job.outcome.client_digests.insert(0, backbone_digest(frozen.model))
    return job.outcome


def _settings(job: Job, **more) -> ConfigRecord:
    return ConfigRecord({"labels": list(job.labels), **more})


def _ask(grid: Grid, job: Job, kind: str, traffic: Traffic, said: RecordDict) -> tuple[list[Message], list[Message]]:
    """Send one content to every client; return the messages and the replies."""
    asked = [Message(said, dst_node_id=node, message_type=kind) for node in sorted(job.names)]
    return asked, list(grid.send_and_receive(send(job, asked, traffic), timeout=TIMEOUT))


def _meet(grid: Grid, config: RunConfig, folder: Path | None, tell: Callable[[dict], None]) -> Job:
    """Wait for the clients and ask each who it is and what it holds."""
    wanted, began = nodes(config), time.monotonic()
    while len(present := sorted(grid.get_node_ids())) < wanted:
        if time.monotonic() - began > JOIN:
            raise FedPromptError(
                f"{len(present)} of {wanted} clients joined within {JOIN} seconds; start the others, or give as many "
                "languages as there are clients"
            )
        time.sleep(0.05)
    said = _told(grid, present, MessageType.QUERY, ConfigRecord({}))
    names = {node: one["client"] for node, one in said.items()}
    if sorted(names.values()) != list(range(wanted)):
        raise FedPromptError(
            f"the clients call themselves {sorted(names.values())}; expected each number from 0 to {wanted - 1} once: "
            "give every node its own partition-id"
        )
    known = {label for one in said.values() for label in one["labels"]}
    labels = task_labels(config.data.task) or tuple(sorted(known))
    if len(set(labels)) < 2:
        raise FedPromptError(
            f"all training examples have the label {labels[0]!r}; a classifier needs at least two labels: add examples "
            "of another"
        )
    job = Job(config, names, labels, Outcome(labels=list(labels)), folder, tell)
    heard = _told(grid, present, f"query.{ABOUT}", _settings(job))
    job.outcome.about = [json.loads(heard[node]["about"]) for node in sorted(names, key=lambda node: names[node])]
    if len({tuple(sorted(one["columns"])) for one in job.outcome.about} - {()}) > 1:
        raise FedPromptError("some files have a column 'text_pair', others have none; give it to all files or none")
    return job


def _told(grid: Grid, present: list[int], kind: str, config: ConfigRecord) -> dict[int, Any]:
    """Ask nodes a question; return what each said, or raise what one could not do."""
    asked = [Message(RecordDict({"config": config}), dst_node_id=node, message_type=kind) for node in present]
    said = {}
    for reply in grid.send_and_receive(asked, timeout=TIMEOUT):
        if reply.has_error():
            raise FedPromptError(why(reply.error.reason).removeprefix("raised ").removeprefix("FedPromptError: "))
        said[reply.metadata.src_node_id] = reply.content["said"]
    return said


def _prototype_start(grid: Grid, job: Job, shape: tuple[int, int]) -> None:
    """Make the head of the first round from class sums of all clients; write down what the sums took."""
    failed, traffic, parts = [], Traffic(job.clients, STATISTICS), []
    shapes = {"sums": shape, "squares": shape[1:], "counts": shape[:1]}
    _, replies = _ask(grid, job, f"query.{STATISTICS}", traffic, RecordDict({"config": _settings(job)}))
    for reply in take(job, replies, failed, traffic):
        sums = from_record(reply.content.array_records.get("arrays", {}))
        sound = {name: x.shape for name, x in sums.items()} == shapes
        if sound and all(np.isfinite(x).all() for x in sums.values()):
            parts.append(sums)
        else:
            failed.append(
                {"client": job.names[reply.metadata.src_node_id], "why": "sent class sums that are not sound"}
            )
    share = job.config.federation.min_share
    if len(parts) < max(1, share * job.clients):
        raise FedPromptError(
            f"only {len(parts)} of {job.clients} clients sent sound class sums for the start of the head, fewer than "
            f"the share of {share}; {who(failed)}; mend the cause, or leave head_start at 'random'"
        )
    job.arrays |= start_head(list(job.arrays), add_up(parts))
    job.outcome.start = {"bytes": traffic.totals(), "client_bytes": traffic.by_client, "failed": failed}


def _test(grid: Grid, job: Job) -> None:
    """Let the clients score the best round on the test splits."""
    outcome, names, failed = job.outcome, job.config.data.languages + job.config.data.unseen, []
    job.own, traffic = outcome.own, Traffic(job.clients, "evaluate")
    arrays = to_record(round_for_sending(outcome.arrays, job.config.federation.update_precision))
    settings = _settings(job, split="test", **{"server-round": outcome.best_round})
    asked, replies = _ask(grid, job, "evaluate", traffic, RecordDict({"arrays": arrays, "config": settings}))
    test, outcome.client_digests = collect_scores(job, grid, asked, replies, "test", failed, traffic)
    if absent := [name for name in names if name not in test]:
        raise FedPromptError(f"no client could score the test split of {absent[0]}; {who(failed[-1:])}; {KEPT}")
    outcome.test = {name: test[name] for name in names}


def _alone(grid: Grid, job: Job) -> Outcome:
    """Let each client train by itself, for as many epochs as the federation's clients see; finished ones are kept."""
    config, outcome, done = job.config, job.outcome, {}
    jobs = config.data.languages if config.federation.setting == "local" else ("all",)
    for client in range(job.clients):
        found = read_state(job.folder, f"alone-{client}") if job.folder else None
        with read_back(job.folder):
            if not found or found[0]["texts"] != job.texts()[client]:
                continue
            done[client], epochs = (found[0]["done"], found[1]["arrays"]), found[0]["done"]["epochs"]
        for entry in epochs:
            job.tell({"job": jobs[client], **entry, "resumed": True})
    asked, kind = RecordDict({"config": _settings(job)}), f"train.{ALONE}"
    waiting = [node for node in sorted(job.names) if job.names[node] not in done]
    names = list(grid.push_messages([Message(asked, dst_node_id=node, message_type=kind) for node in waiting]))
    while len(done) < job.clients:
        for reply in grid.pull_messages(names):
            client = job.names[reply.metadata.src_node_id]
            if reply.has_error():
                raise FedPromptError(
                    f"training alone on {jobs[client]} stopped: client {client} {why(reply.error.reason)}; what is "
                    "finished is kept: mend the cause (free some memory, if its process died) and give the same "
                    "command again"
                )
            said, arrays = json.loads(content(reply)["said"]["done"]), from_record(reply.content["arrays"])
            done[client] = said, arrays
            if job.folder:
                facts = {"done": said, "texts": job.texts()[client]}
                write_state(job.folder, f"alone-{client}", facts, {"arrays": arrays})
        time.sleep(0.02)
    for client, name in enumerate(jobs):
        said, outcome.own[name] = done[client]
        outcome.epochs[name] = said["epochs"]
        outcome.test |= said["test"]
        outcome.client_digests.append(said["digest"])
    outcome.test = {name: outcome.test[name] for name in config.data.languages + config.data.unseen}
    return outcome
