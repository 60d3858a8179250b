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
from pathlib import Path

import psutil

from .clients import nodes
from .config import RunConfig
from .errors import FedPromptError
from .federation.grid import usable_cores
from .federation.settings import write_settings
from .model.devices import choose_device

APP = Path(__file__).with_name("flower_app")
STARTUP = 60  # seconds that a SuperLink may take to start


def flwr_run(config: RunConfig, record: Path) -> Path:
    """Run a configuration under ``flwr run``; its ServerApp writes the run record. Nothing is left running."""
    before = record.stat().st_mtime_ns if record.exists() else None
    resources = f"num-supernodes={nodes(config)} client-resources-num-cpus=1 init-args-num-cpus={usable_cores()}"
    if choose_device(config.model.device).type == "cuda":
        resources += " client-resources-num-gpus=1.0"
    with tempfile.TemporaryDirectory(prefix="fedprompt-", ignore_cleanup_errors=True) as name:
        home, said = Path(name), []
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": programs, "FLWR_HOME": name, "RAY_raylet_start_wait_time_s": "200"}
        settings = write_settings(config) | {"output": str(record.parent.absolute()), "folder": ""}
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (home / "run.toml").write_text("\n".join(lines), encoding="utf-8")
        command = ["flwr", "run", str(APP), "here", "--stream", "--run-config", str(home / "run.toml")]
        command += ["--federation-config", resources]
        with (
            _superlink(home, environment),
            _process(command, environment, stdout=subprocess.PIPE, text=True) as running,
        ):
            for line in running.stdout or ():
                print(line, end="", file=sys.stderr, flush=True)
                said.append(line.strip(" \n│╭╮╰╯─"))
    if not record.exists() or record.stat().st_mtime_ns == before:
        faults = [line for line in said if "Error" in line] or [line for line in said if line] or ["nothing"]
        raise FedPromptError(
            f"the run under Flower left no record; the last it said: {faults[-1]}; mend the cause, or leave --runtime "
            "out: the processes of this machine need no SuperLink and no Ray"
        )
    return record


@contextmanager
def _superlink(home: Path, environment: dict):
    """Start a SuperLink that only this run knows of; end it afterwards."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        port, control, fleet = (each.getsockname()[1] for each in sockets)
    connection = f'default = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f"[superlink]\n{connection}", encoding="utf-8")
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--control-api-address", f"127.0.0.1:{control}"]
    command += ["--fleet-api-address", f"127.0.0.1:{fleet}"]
    log, began = home / "superlink.log", time.monotonic()
    with log.open("w") as output, _process(command, environment, stdout=output) as started:
        while time.monotonic() - began < STARTUP and started.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                break
            time.sleep(0.2)
        else:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or [
                "it said nothing"
            ]
            raise FedPromptError(
                f"Flower's SuperLink did not start within {STARTUP} seconds ({said[-1][:200]}); try again, or leave "
                "--runtime out"
            )
        yield


@contextmanager
def _process(command: list[str], environment: dict, **options):
    """Start a command of Flower in a group of its own; end it and all that it started."""
    try:
        started = subprocess.Popen(
            command, env=environment, stderr=subprocess.STDOUT, start_new_session=True, encoding="utf-8", **options
        )
    except OSError as error:
        raise FedPromptError(f"cannot start {command[0]} ({error.strerror}); install flwr[simulation]") from error
    family = []
    try:
        yield started
    finally:
        with suppress(psutil.Error):  # it may be gone already
            family = [psutil.Process(started.pid)]
            family += family[0].children(recursive=True)  # Flower and Ray begin groups of their own
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for each in family:
                with suppress(psutil.Error):
                    end(each)
            family = psutil.wait_procs(family, timeout=10)[1]
