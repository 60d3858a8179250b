"""Where Flower's simulation runs its clients: in processes forked from this one, one a core.

Flower's own backend starts Ray, whose processes import and load everything anew (18 s to the first message where
this takes 3, both measured) and are not replaced when they die.
A forked process has the frozen backbone and the data already, in
the same memory. Where forking is not safe (macOS, Windows), processes are spawned: they load for themselves. Flower
offers no public way to choose a backend, so this module puts its own in the place of the Ray one; a test holds it
against the pinned version.
"""

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from multiprocessing.context import BaseContext
from queue import Queue

import cloudpickle
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import ClientAppException
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.fleet.vce.backend import Backend
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

RAY_BACKEND = "flwr.server.superlink.fleet.vce.backend.raybackend"
POLL = 0.01
"""Seconds between two looks for messages; Flower's simulation waits ten times as long, at both ends."""


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_context() -> BaseContext:
    """Choose how processes start: forked on Linux, else spawned; ``FEDPROMPT_START_METHOD`` overrides it."""
    usual = "fork" if sys.platform == "linux" else "spawn"
    return multiprocessing.get_context(os.environ.get("FEDPROMPT_START_METHOD", usual))


def run(server_app: ServerApp, client_app: ClientApp, num_clients: int) -> None:
    """Run a federation on this machine: one process a core, as many virtual clients as asked for.

    Parameters
    ----------
    server_app, client_app : ServerApp, ClientApp
        The two halves of a Flower app. What they need should be loaded in this process by now: forked processes
        share it.
    num_clients : int
        Number of clients, each with a ``partition-id`` from 0.
    """
    # Forked before Flower starts its threads.
    workers = [Worker(client_app) for _ in range(min(usable_cores(), num_clients))]
    ours = types.SimpleNamespace(RayBackend=lambda _: ProcessBackend(workers))  # Flower imports it when it needs it
    flowers = {RAY_BACKEND: sys.modules[RAY_BACKEND]} if RAY_BACKEND in sys.modules else {}
    sys.modules[RAY_BACKEND] = ours
    hand_out, vce_api.add_messages_to_queue = vce_api.add_messages_to_queue, _hand_out
    try:
        run_simulation(server_app, client_app, num_supernodes=num_clients)
    finally:
        sys.modules.pop(RAY_BACKEND)
        sys.modules |= flowers
        vce_api.add_messages_to_queue = hand_out
        for worker in workers:
            worker.stop()


def look_often(grid: Grid) -> None:
    """Let the server of a simulation look for replies every ``POLL`` seconds."""
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = POLL


def _hand_out(state, queue: Queue, nodes_mapping: dict, f_stop: threading.Event) -> None:
    """Do as Flower's ``add_messages_to_queue``, with a shorter wait."""
    while not f_stop.wait(POLL):
        for node in nodes_mapping:
            for message in state.get_message_ins(node_id=node, limit=1):
                queue.put(message)


class WorkerDied(Exception):
    """The process that worked on a message is no more."""


class Worker:
    """A process that lets a ClientApp answer messages, and is started anew if it died."""

    def __init__(self, client_app: ClientApp):
        """Start the process."""
        self.client_app = client_app
        self.start()

    def start(self) -> None:
        """Start the process."""
        context = process_context()
        self.connection, far = context.Pipe()
        inherited = self.connection if context.get_start_method() == "fork" else None
        self.process = context.Process(target=_answer, args=(far, inherited, _ByValue(self.client_app)), daemon=True)
        self.process.start()
        far.close()  # so that a dead process shows as the end of the connection

    def ask(self, message: Message, context: Context) -> tuple[Message, Context]:
        """Let the process answer a message.

        Raises
        ------
        WorkerDied
            If it died over it; another one is there for the next message.
        ClientAppException
            If the ClientApp raised an exception.
        """
        try:
            self.connection.send_bytes(cloudpickle.dumps((message, context)))
            reply, context, error = cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError) as gone:
            self.stop()
            self.start()
            raise WorkerDied("the process of this client died") from gone
        if error is not None:
            raise ClientAppException(error)
        return reply, context

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.join()


class ProcessBackend(Backend):
    """Flower's interface to the processes that run clients."""

    def __init__(self, workers: list[Worker]):
        """Take processes that are started already."""
        self.workers, self.idle = workers, Queue()
        for worker in workers:
            self.idle.put(worker)

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        """Do nothing: the processes have the ClientApp already."""

    @property
    def num_workers(self) -> int:
        """Say how many messages can be worked on at a time."""
        return len(self.workers)

    def is_worker_idle(self) -> bool:
        """Say whether a process has nothing to do."""
        return not self.idle.empty()

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        """Hand a message to a process that has nothing to do, and wait for its answer."""
        worker = self.idle.get()
        try:
            return worker.ask(message, context)
        finally:
            self.idle.put(worker)

    def terminate(self) -> None:
        """Do nothing: who started the processes ends them."""


class _ByValue:
    """Carries a ClientApp to a spawned process, even one defined in a notebook; a forked one has it already."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return _by_value, (cloudpickle.dumps(self.value),)


def _by_value(pickled: bytes) -> _ByValue:
    return _ByValue(cloudpickle.loads(pickled))


def _answer(connection, inherited, client_app: _ByValue) -> None:
    """Answer messages until the process that asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a keyboard interrupt is for the process that asks
    if inherited is not None:
        inherited.close()  # a forked process has the asker's end too, and would wait for itself
    while True:
        try:
            message, context = cloudpickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = client_app.value(message=message, context=context), context, None
        except Exception as error:
            answer = None, context, f"{type(error).__name__}: {error}"
        try:
            connection.send_bytes(cloudpickle.dumps(answer))
        except OSError:
            return
