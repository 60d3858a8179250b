"""The server: who is there, where everything starts, the rounds, the test; or training without a federation."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from ..clients import model, nodes
from ..config import RunConfig
from ..data.tasks import check_labels, task_labels
from ..errors import FedPromptError
from ..model.counting import backbone_digest, is_head
from ..model.head_start import shapes, start_head
from .client import ABOUT, ALONE, STATISTICS
from .messages import Arrays, from_record, sound, to_record
from .state import Job, Outcome, read_back, read_state, write_state
from .strategies import KEPT, TIMEOUT, Exchange, make_strategy, why

JOIN = min(300, TIMEOUT)  # seconds to wait for all clients; on real machines they join one by one


def serve(
    grid: Grid, config: RunConfig, *, folder: Path | None = None, tell: Callable[[dict], None] = lambda entry: None,
    keep_own: bool = False,
) -> Outcome:  # fmt: skip
    """Run one configuration over a grid, whichever runtime it belongs to.

    What is finished is kept in `folder`, and not done twice. `tell` is called with the entry of each round, which
    carries ``resumed=True`` if it was read. With `keep_own`, clients that end with a model of their own send it.
    """
    job = _meet(grid, config, folder, tell)
    if config.federation.setting != "federated":
        return _alone(grid, job)
    frozen = model(config, job.labels, "cpu")
    digest = backbone_digest(frozen.model)
    for client, one in enumerate(job.outcome.about):
        if one["backbone"] != digest:
            raise FedPromptError(
                f"client {client} holds another backbone: its digest is {one['backbone']}, the server's {digest}; give "
                f"every node the same files of {config.model.backbone}, and a precision other than auto"
            )
    strategy, kind = make_strategy(job), {True: config.federation.head, False: config.federation.prompt}
    job.arrays = job.outcome.arrays = {n: x for n, x in frozen.initial.items() if kind[is_head(n)] == "shared"}
    job.go_on(strategy, grid)
    outcome, languages = job.outcome, config.data.languages + config.data.unseen
    for entry in outcome.rounds:
        tell(entry | {"resumed": True})
    if config.model.head_start != "random" and not outcome.rounds:
        _head_start(grid, job, frozen.model.config.hidden_size)  # type: ignore
        outcome.arrays = job.arrays
    rounds, start = config.federation.rounds - len(outcome.rounds), to_record(job.arrays)
    if rounds:
        strategy.start(grid, start, num_rounds=rounds, timeout=TIMEOUT, train_config=job.settings())
    job.own, job.send_own, exchange = outcome.own, keep_own and config.own_models, Exchange(job)
    outcome.test, digests = exchange.score(grid, outcome.arrays, outcome.best_round, "test")
    if absent := [name for name in languages if name not in outcome.test]:
        raise FedPromptError(f"no client could score the test split of {absent[0]}; {exchange.who()}; {KEPT}")
    outcome.own, outcome.last = outcome.own | exchange.own, job.arrays
    outcome.client_digests = [digest, *digests]
    return outcome


def _meet(grid: Grid, config: RunConfig, folder: Path | None, tell: Callable[[dict], None]) -> Job:
    """Wait for the clients and ask each who it is and what it holds."""
    wanted, began = nodes(config), time.monotonic()
    while len(present := sorted(grid.get_node_ids())) < wanted:
        if time.monotonic() - began > JOIN:
            what = f"{len(present)} of {wanted} clients joined within {JOIN} seconds"
            raise FedPromptError(f"{what}; start the others, or give as many languages as there are clients")
        time.sleep(0.05)
    said = _told(grid, present, "query", ConfigRecord({}))
    names = {node: one["client"] for node, one in said.items()}
    if sorted(names.values()) != list(range(wanted)):
        what = f"the clients call themselves {sorted(names.values())}; expected each number from 0 to {wanted - 1} once"
        raise FedPromptError(f"{what}: give every node its own partition-id")
    labels = task_labels(config.data.task) or tuple(sorted({label for one in said.values() for label in one["labels"]}))
    check_labels(labels)
    job = Job(config, names, labels, Outcome(labels=list(labels)), folder, tell)
    heard = _told(grid, present, f"query.{ABOUT}", job.settings())
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


def _head_start(grid: Grid, job: Job, width: int) -> None:
    """Make the head of the first round from class sums of all clients; write down what the sums took."""
    expected, exchange = shapes(job.config.model.head_start, len(job.labels), width), Exchange(job)

    def read(client: int, reply: Message) -> Arrays:
        return sound(from_record(reply.content.array_records["arrays"]), expected)

    parts = exchange.ask(grid, f"query.{STATISTICS}", {"config": job.settings()}, read)
    what = "sound class sums for the start of the head"
    exchange.check_share(parts, "", what, "mend the cause, or leave head_start at 'random'")
    job.arrays |= start_head(list(job.arrays), list(parts.values()))
    job.outcome.start = exchange.facts()


def _alone(grid: Grid, job: Job) -> Outcome:
    """Let each client train by itself, for as many epochs as the federation's clients see; finished ones are kept."""
    data, outcome, done, resumed = job.config.data, job.outcome, {}, []
    jobs = data.languages if job.config.federation.setting == "local" else ("all",)
    with read_back(job.folder):
        for client, texts in enumerate(job.texts()):
            if found := read_state(job.folder, f"alone-{client}", texts):
                done[client] = found[0], found[1]["arrays"]
                resumed += [{"job": jobs[client], **entry, "resumed": True} for entry in found[0]["epochs"]]
    for entry in resumed:
        job.tell(entry)
    asked, waiting = RecordDict({"config": job.settings()}), [n for n in sorted(job.names) if job.names[n] not in done]
    messages = [Message(asked, dst_node_id=node, message_type=f"train.{ALONE}") for node in waiting]
    names = list(grid.push_messages(messages))
    while len(done) < job.clients:
        for reply in grid.pull_messages(names):
            client = job.names[reply.metadata.src_node_id]
            if reply.has_error():
                what = f"training alone on {jobs[client]} stopped: client {client} {why(reply.error.reason)}; what is"
                then = "mend the cause (free some memory, if its process died) and give the same command again"
                raise FedPromptError(f"{what} finished is kept: {then}")
            said: Any = reply.content["said"]
            done[client] = json.loads(said["done"]), from_record(reply.content["arrays"])
            if job.folder:
                facts = {"texts": job.texts()[client], **done[client][0]}
                write_state(job.folder, f"alone-{client}", facts, {"arrays": done[client][1]})
        time.sleep(0.02)
    scores = {}
    for client, name in enumerate(jobs):
        facts, outcome.own[name] = done[client]
        outcome.epochs[name] = facts["epochs"]
        outcome.client_digests.append(facts["digest"])
        scores |= facts["test"]
    outcome.test = {name: scores[name] for name in data.languages + data.unseen}
    return outcome
