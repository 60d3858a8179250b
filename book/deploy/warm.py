"""Processes that begin with PyTorch and Flower loaded, so that a fault is tried in seconds; see tests/preloaded.py.

Flower starts a process for each message, and each imports PyTorch anew. A real node should pay for that; somebody who
tries ten faults on two cores should not.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "flwr-clientapp": "flwr.supernode.cli:flwr_clientapp",
    "flwr-serverapp": "flwr.superlink.cli:flwr_serverapp",
}


@contextmanager
def warm_programs():
    """Give a folder for the PATH with Flower's two programs, each of which begins warm."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the name of a socket must be short
        path, program = Path(folder, "socket"), ROOT / "tests" / "preloaded.py"
        for name, run in PROGRAMS.items():
            command = shlex.join([sys.executable, "-S", str(program), str(path), run])
            Path(folder, name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', "utf-8")
            Path(folder, name).chmod(0o755)
        server = subprocess.Popen([sys.executable, "-P", str(program), "serve", str(path)], stdin=subprocess.PIPE)
        try:
            while not path.exists():
                if server.poll() is not None:
                    raise RuntimeError("the warm process has ended")
                time.sleep(0.05)
            yield folder
        finally:
            if server.stdin:
                server.stdin.close()
            server.wait(10)
