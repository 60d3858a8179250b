"""A Flower grid whose nodes are processes of this machine: no Ray, no SuperLink, nothing of Flower replaced.

Processes are forked where that is safe, so that they have the frozen backbone in the same memory; they end with the one
that started them, and one that dies is replaced: its client is an error of that round (chapter 6).
"""

import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import cloudpickle
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

# Private, and the only such import of this package: Message() asks it who is sending, and refuses to be made outside a
# run of Flower's own until it has been told.
from flwr.supercore.task_identity import TaskIdentity

from ..errors import FedPromptError, last_line

POLL = 0.2  # seconds between two looks while waiting, so that Ctrl-C is heard everywhere
_say: Callable[[Any], None] | None = None  # how a client of this process tells of its progress


def say(word: Any) -> None:
    """Tell whoever runs this grid how far a client is, where somebody listens."""
    if _say is not None:
        _say(word)


def outside_a_run() -> None:
    """Tell Flower who is sending, so that messages can be made outside a run of its own."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore
    os._exit(1)


def _answer_until_closed(connection, inherited, app: ClientApp | bytes) -> None:
    """Answer messages until the process that asks is gone."""
    global _say
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a keyboard interrupt is for the process that asks
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if inherited is not None:
        inherited.close()  # a forked process has the asker's end too, and would wait for itself
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # GNU OpenMP does not survive a fork with more
    client_app = cloudpickle.loads(app) if isinstance(app, bytes) else app
    outside_a_run()

    def send(kind: str, content: Any) -> None:
        connection.send_bytes(cloudpickle.dumps((kind, content)))  # the arrays are memory views: pickle refuses them

    _say = lambda word: send("word", word)  # noqa: E731
    while True:
        try:
            message, context = cloudpickle.loads(connection.recv_bytes())
            try:
                answer = "reply", (client_app(message, context), context)
            except Exception as error:
                answer = "error", f"raised {last_line(error)}"
            send(*answer)
        except (EOFError, OSError):
            return


class Worker:
    """A process that lets a ClientApp answer messages, and is started anew if it died."""

    def __init__(self, client_app: ClientApp, method: str, on_word: Callable[[Any], None]):
        """Start the process."""
        self.app = client_app if method == "fork" else cloudpickle.dumps(client_app)
        self.method, self.on_word, self.ended = method, on_word, False
        self.start()

    def start(self) -> None:
        """Start the process."""
        context: Any = multiprocessing.get_context(self.method)
        self.connection, far = context.Pipe()
        given = (far, self.connection if self.method == "fork" else None, self.app)
        self.process = context.Process(target=_answer_until_closed, args=given, daemon=True)
        self.process.start()
        far.close()  # so that a dead process shows as the end of the connection

    def ask(self, message: Message, context: Context) -> tuple[str, Any]:
        """Let the process answer a message: ``("reply", (message, context))`` or ``("error", reason)``."""
        try:
            self.connection.send_bytes(cloudpickle.dumps((message, context)))
            while True:
                kind, content = cloudpickle.loads(self.connection.recv_bytes())
                if kind != "word":
                    return kind, content
                self.on_word(content)
        except (EOFError, OSError):
            if not self.ended:
                self.stop()
                self.start()
            return "error", "did not answer: its process died"

    def stop(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class ProcessGrid(Grid):
    """Answers messages by calling a ClientApp in `workers` processes, by default one a core.

    0 workers answer in this process, one client at a time. Processes `start` by ``"fork"``, the default on Linux, or
    ``"spawn"``; ``FEDPROMPT_START_METHOD`` overrides it. `on_word` is called with what clients say of their progress.
    """

    def __init__(
        self, client_app: ClientApp, num_nodes: int, *, run_config=None, workers=None, start=None, on_word=None
    ):
        """Start the processes."""
        outside_a_run()
        self.client_app, self._run, self.on_word = client_app, None, on_word or (lambda word: None)
        self.contexts = {}
        for i in range(num_nodes):
            place: Any = {"partition-id": i, "num-partitions": num_nodes}
            self.contexts[i + 1] = Context(1, i + 1, place, RecordDict(), run_config or {})
        method = os.environ.get("FEDPROMPT_START_METHOD") or start or ("fork" if sys.platform == "linux" else "spawn")
        count = min(usable_cores() if workers is None else workers, num_nodes)
        self._workers = [Worker(client_app, method, self.on_word) for _ in range(count)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(max(1, count))
        self._numbers, self._waiting = itertools.count(1), {}

    def _ask(self, message: Message) -> Message:
        worker = self._idle.get()
        try:
            kind, content = worker.ask(message, self.contexts[message.metadata.dst_node_id])
        finally:
            self._idle.put(worker)
        if kind == "error":
            return Message(Error(0, content), reply_to=message)
        reply, self.contexts[message.metadata.dst_node_id] = content
        return reply

    def _ask_here(self, message: Message) -> Future:
        global _say
        before, _say, done = _say, self.on_word, Future()
        try:
            done.set_result(self.client_app(message, self.contexts[message.metadata.dst_node_id]))
        except Exception as error:
            done.set_result(Message(Error(0, f"raised {last_line(error)}"), reply_to=message))
        finally:
            _say = before
        return done

    def get_node_ids(self) -> Iterable[int]:
        """Name the nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the processes; return a number for each."""
        names = []
        for message in messages:
            names.append(f"{next(self._numbers)}")
            done = self._threads.submit(self._ask, message) if self._workers else self._ask_here(message)
            self._waiting[names[-1]] = done
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there by now."""
        done = [name for name in message_ids if name in self._waiting and self._waiting[name].done()]
        return [self._waiting.pop(name).result() for name in done]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Hand messages over and wait for the replies, at most `timeout` seconds."""
        names, waited = list(self.push_messages(messages)), 0.0
        while wait([self._waiting[name] for name in names], POLL).not_done:
            waited += POLL
            if timeout is not None and waited >= timeout:
                break
        return self.pull_messages(names)

    def set_run(self, run: Any) -> None:
        """Keep what Flower says of the run."""
        self._run = run

    @property
    def run(self) -> Any:
        """What was kept; a grid of this machine needs none."""
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        for worker in self._workers:
            worker.ended = True
            worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def run_here(server_app: ServerApp, client_app: ClientApp, num_nodes: int, *, run_config=None, **options) -> Context:
    """Run the two halves of a Flower app on this machine; return the server's context with its state."""
    if num_nodes < 1:
        raise FedPromptError(f"num_nodes is {num_nodes}; a federation needs at least 1 client")
    grid, context = ProcessGrid(client_app, num_nodes, run_config=run_config, **options), None
    try:
        context = Context(1, 0, {}, RecordDict(), run_config or {})
        server_app(grid, context)
    finally:
        grid.close()
    return context
