"""Processes that begin with PyTorch, Transformers and Flower loaded.

Loading them takes a process six seconds and more; what a test then does in it takes one. A server loads them once and
forks a process for each call. In a test, ``preloaded(SCRIPT or MODULE:FUNCTION, ...)`` is a command for `subprocess`
that hands its arguments, environment, folder and streams to such a fork, and ends as it ends. What belongs to a process
of its own (how it is killed, its terminal, what it imports and when) is tested with a real one.
"""

import array
import json
import os
import signal
import socket
import sys
from pathlib import Path

MODULES = (
    "fedprompt_helpers.cli",
    "fedprompt_helpers.plots",
    "fedprompt_helpers.progress",
    "fedprompt_helpers.records",
    "fedprompt_helpers.runs",
    "flwr.superlink.cli",
    "flwr.supernode.cli",
)


def call(path: str, run: str, arguments: list[str]) -> int:
    """Let the server run something, and wait for it: this takes the place of the process, so it imports little."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        asked = {"run": run, "arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        connection.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (0, 1, 2)))])
        connection.sendall(json.dumps(asked).encode() + b"\n")
        return int(connection.makefile().read() or 1)


def serve(path: str) -> str:
    """Fork a process for each call until standard input is closed; return in each such process with what it runs."""
    import importlib
    import select

    for name in MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                return _begin(connection)
            connection.close()
    os._exit(0)


def _begin(connection: socket.socket) -> str:
    """Become the process that was asked for, in a child; stay to end it with its caller, and to tell how it ended."""
    import select

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile().readline())
    process = os.fork()
    if not process:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace")
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = [asked["run"], *asked["arguments"]]
        return asked["run"]
    for number in (*streams, 0, 1, 2):
        os.close(number)
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if select.select([connection], [], [], 0.02)[0]:  # the caller is gone
            os.kill(process, signal.SIGTERM)
            ended = os.waitpid(process, 0)
            break
    connection.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
    os._exit(0)


if __name__ == "__main__" and sys.argv[1] == "serve":
    run = serve(sys.argv[2])
    if run.endswith(".py"):
        import runpy

        runpy.run_path(run, run_name="__main__")
    else:
        module, _, function = run.partition(":")
        sys.exit(getattr(__import__(module, fromlist=[function]), function)())
elif __name__ == "__main__":
    sys.exit(call(sys.argv[1], sys.argv[2], sys.argv[3:]))
