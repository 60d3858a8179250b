"""``fedprompt run --runtime flower``: the same two apps under ``flwr run``, with Flower's own simulation (Ray).

A SuperLink is started for the run, on ports that are free, and ended with everything that it started.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import psutil

from .clients import nodes
from .config import RunConfig
from .errors import FedPromptError
from .federation.grid import usable_cores
from .model.backbones import choose_device

APP = Path(__file__).with_name("flower_app")
STARTUP = 60  # seconds that a SuperLink may take to start


def flwr_run(config: RunConfig, record: Path, *, save: str = "", save_round: str = "best") -> Path:
    """Run a configuration under ``flwr run``; its ServerApp writes record and models. Nothing is left running."""
    before = record.stat().st_mtime_ns if record.exists() else None
    resources = f"num-supernodes={nodes(config)} client-resources-num-cpus=1 init-args-num-cpus={usable_cores()}"
    if choose_device(config.model.device).type == "cuda":
        resources += " client-resources-num-gpus=1.0"
    said = []
    with tempfile.TemporaryDirectory(prefix="fedprompt-", ignore_cleanup_errors=True) as home, ExitStack() as stack:
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": programs, "FLWR_HOME": home, "RAY_raylet_start_wait_time_s": "200"}
        given = write_run(Path(home), config, record.parent, save=save, save_round=save_round)
        _start_superlink(stack, Path(home), environment)
        command = ["flwr", "run", str(APP), "here", "--stream", "--run-config", str(given)]
        command += ["--federation-config", resources]
        running = stack.enter_context(process(command, environment, stdout=subprocess.PIPE, text=True))
        for line in running.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            said.append(line.strip(" \n│╭╮╰╯─"))
    last = ["nothing", *filter(None, said), *(line for line in said if "Error" in line)][-1]
    if not record.exists() or record.stat().st_mtime_ns == before:
        raise FedPromptError(
            f"the run under Flower left no record; the last it said: {last}; mend the cause, or leave --runtime out: "
            "the processes of this machine need no SuperLink and no Ray"
        )
    if save and not Path(save).expanduser().exists():
        raise FedPromptError(f"the record is {record}, but {save} could not be written; Flower said: {last}")
    return record


def write_run(home: Path, config: RunConfig, output: Path, folder: str = "", save: str = "", save_round: str = "best"):
    """Write what ``flwr run`` is given: the configuration, and folders for record, finished rounds and models."""
    settings = config.to_text() | {"output": str(output.absolute()), "folder": folder, "save": save}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in (settings | {"save-round": save_round}).items())
    (home / "run.toml").write_text(text, "utf-8")
    return home / "run.toml"


def _start_superlink(stack: ExitStack, home: Path, environment: dict) -> None:
    """Start a SuperLink that only this run knows of; it ends with the stack."""
    with ExitStack() as closing:
        sockets = [closing.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        link, control, fleet = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    connection = f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{link}"\ninsecure = true\n'
    (home / "config.toml").write_text(connection, encoding="utf-8")
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess", "--host", "127.0.0.1"]
    command += ["--port", link.partition(":")[2], "--control-api-address", control, "--fleet-api-address", fleet]
    log, end = home / "superlink.log", time.monotonic() + STARTUP
    started = stack.enter_context(process(command, environment, stdout=stack.enter_context(log.open("w"))))
    while time.monotonic() < end and started.poll() is None:
        with suppress(OSError, HTTPException), urllib.request.urlopen(f"http://{link}/health", timeout=1):
            return
        time.sleep(0.2)
    said = ["it said nothing", *filter(str.strip, log.read_text(errors="replace").splitlines())][-1][:200]
    what = f"Flower's SuperLink did not start within {STARTUP} seconds ({said})"
    raise FedPromptError(f"{what}; try again, or leave --runtime out")


@contextmanager
def process(command: list[str], environment: dict, **options):
    """Start a command of Flower in a group of its own; end it and all that it started."""
    try:
        started = psutil.Popen(
            command, env=environment, stderr=subprocess.STDOUT, start_new_session=True, encoding="utf-8", **options
        )
    except OSError as error:
        raise FedPromptError(f"cannot start {command[0]} ({error.strerror}); install flwr[simulation]") from error
    try:
        yield started
    finally:
        family = [started]
        with suppress(psutil.Error):  # it may be gone already
            family += started.children(recursive=True)  # Flower and Ray begin groups of their own
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for each in family:
                with suppress(psutil.Error):
                    end(each)
            family = psutil.wait_procs(family, timeout=10)[1]
