"""A Flower grid whose nodes are processes of this machine (chapter 6): no Ray, no SuperLink, nothing replaced.

Forked processes share the frozen backbone's memory. They end with the one that started them; one that dies is replaced.
"""

import functools
import itertools
import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
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


def _answer(app: ClientApp, message: Message, context: Context) -> Message:
    try:
        return app(message, context)
    except Exception as error:
        return Message(Error(0, f"raised {last_line(error)}"), reply_to=message)


def _answer_until_closed(connection, inherited, app: Any) -> None:
    """Answer messages until the process that asks is gone."""
    global _say
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a keyboard interrupt is for the process that asks
    asker: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (asker.join(), os._exit(1)), daemon=True).start()
    if inherited is None:
        app = cloudpickle.loads(app)
    else:
        inherited.close()  # a forked process has the asker's end too, and would wait for itself
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # GNU OpenMP does not survive a fork with more
    outside_a_run()
    _say = functools.partial(_send, connection, None)
    with suppress(EOFError, OSError):
        while True:
            message, context = cloudpickle.loads(connection.recv_bytes())
            _send(connection, _answer(app, message, context), context)


def _send(connection, *pair: Any) -> None:
    connection.send_bytes(cloudpickle.dumps(pair))  # between a process and its own child; pickle refuses memory views


class ProcessGrid(Grid):
    """Answers messages by calling a ClientApp in `workers` processes, by default one a core.

    0 workers answer in this process, one client at a time. Processes `start` by ``"fork"``, the default on Linux, or
    ``"spawn"``; ``FEDPROMPT_START_METHOD`` overrides it. `on_word` is called with what clients say of their progress.
    """

    run = set_run = create_message = None  # type: ignore  # these three are for Flower's own runtimes

    def __init__(
        self, client_app: ClientApp, num_nodes: int, *, run_config=None, workers=None, start=None, on_word=None
    ):
        outside_a_run()
        self.client_app, self.on_word = client_app, on_word or (lambda word: None)
        self.contexts = {
            i + 1: Context(1, i + 1, {"partition-id": i, "num-partitions": num_nodes}, RecordDict(), run_config or {})
            for i in range(num_nodes)
        }
        usual = start or ("fork" if sys.platform == "linux" else "spawn")
        self._method = os.environ.get("FEDPROMPT_START_METHOD") or usual
        self._closed, self._started, self._idle = False, [], queue.SimpleQueue()
        self._numbers, self._waiting = itertools.count(1), {}
        for _ in range(min(usable_cores() if workers is None else workers, num_nodes)):
            self._idle.put(self._start())
        self._threads = ThreadPoolExecutor(max(1, len(self._started)))

    def _start(self) -> Any:
        """Start a process that answers messages, and return this end of the connection to it."""
        context: Any = multiprocessing.get_context(self._method)
        near, far = context.Pipe()
        forked = self._method == "fork"
        given = (near, self.client_app) if forked else (None, cloudpickle.dumps(self.client_app))
        process = context.Process(target=_answer_until_closed, args=(far, *given), daemon=True)
        process.start()
        far.close()  # so that a dead process shows as the end of the connection
        self._started.append((process, near))
        return near

    def _ask(self, message: Message) -> Message:
        """Let a process answer; one that dies is replaced."""
        node, connection = message.metadata.dst_node_id, self._idle.get()
        try:
            _send(connection, message, self.contexts[node])
            while (answer := cloudpickle.loads(connection.recv_bytes()))[0] is None:
                self.on_word(answer[1])
            reply, context = answer
            if not reply.has_error():
                self.contexts[node] = context
        except (EOFError, OSError):
            reply = Message(Error(0, "did not answer: its process died"), reply_to=message)
            if not self._closed:
                connection = self._start()
        finally:
            self._idle.put(connection)
        return reply

    def get_node_ids(self) -> Iterable[int]:
        """Name the nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the processes; return a number for each."""
        global _say
        names = []
        for message in messages:
            names.append(f"{next(self._numbers)}")
            if self._started:
                self._waiting[names[-1]] = self._threads.submit(self._ask, message)
                continue
            before, _say = _say, self.on_word
            self._waiting[names[-1]] = done = Future()
            try:
                done.set_result(_answer(self.client_app, message, self.contexts[message.metadata.dst_node_id]))
            finally:
                _say = before
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there by now."""
        done = [name for name in message_ids if name in self._waiting and self._waiting[name].done()]
        return [self._waiting.pop(name).result() for name in done]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Hand messages over and wait for the replies, at most `timeout` seconds."""
        names, end = list(self.push_messages(messages)), time.monotonic() + (timeout or math.inf)
        while wait([self._waiting[name] for name in names], POLL).not_done and time.monotonic() < end:
            pass
        return self.pull_messages(names)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        self._closed = True
        for process, connection in self._started:
            process.kill()
            process.join()
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def run_here(server_app: ServerApp, client_app: ClientApp, num_nodes: int, *, run_config=None, **options) -> Context:
    """Run the two halves of a Flower app on this machine; return the server's context with its state."""
    if num_nodes < 1:
        raise FedPromptError(f"num_nodes is {num_nodes}; a federation needs at least 1 client")
    context = Context(1, 0, {}, RecordDict(), run_config or {})
    with closing(ProcessGrid(client_app, num_nodes, run_config=run_config, **options)) as grid:
        server_app(grid, context)
    return context
