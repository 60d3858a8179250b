"""``fedprompt deploy-local``: the two apps as a real federation, a SuperLink and a SuperNode a client (chapter 16).

All of it runs on this machine: TLS with a certificate authority made on the spot, SuperNodes that are known by their
keys, each with a folder of its own data. What is started here is ended here.
"""

import json
import os
import queue
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .adapters import check_save
from .checks import OWN
from .config import RunConfig
from .errors import FedPromptError
from .flower import APP, STARTUP, process, write_run
from .trust import certificates, key_pair

STARTS, PAUSE = 5, 30  # how often a SuperNode that ends is started, and seconds between: a SuperLink must miss it first


class Federation(ExitStack):
    """A SuperLink and SuperNodes, as processes in a folder of their own; a ``with`` block ends them all."""

    def __init__(self, home: Path, *, port: int = 0, say: Callable[[str], Any] = print, **environment: str):
        """Make the folder; nothing is started. `say` is called with each command."""
        super().__init__()
        self.home, self.say, self.links, self.nodes, self.starts = home.absolute(), say, 0, {}, {}
        self.home.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([environment.pop("PATH", ""), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "FLWR_HOME": str(self.home), **environment, "PATH": path.lstrip(os.pathsep)}
        self.port = port or self.free()
        there = f'default = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\nroot-certificates = '
        there += json.dumps(str(self.home / "ca.crt"))
        (self.home / "config.toml").write_text(f"[superlink]\n{there}\n", "utf-8")

    def free(self, port: int = 0) -> int:
        """Return a port that nobody uses, or refuse the one that somebody does."""
        try:
            with socket.create_server(("127.0.0.1", port)) as found:
                return found.getsockname()[1]
        except OSError as error:
            raise FedPromptError(f"port {port} is in use; end what uses it, or leave --port out") from error

    def start(self, log: str, command: str, **environment: str):
        """Start a command in the folder; what it says goes to a file."""
        self.say(f"$ {command}")
        stream = self.enter_context((self.home / log).open("a", encoding="utf-8"))
        changed = self.environment | environment
        return self.enter_context(process(shlex.split(command), changed, stdout=stream, cwd=self.home))

    def link(self) -> None:
        """Start the SuperLink, on its port, and wait until it answers."""
        control, fleet = self.free(), self.free(self.port) and self.free()
        tls = "--ssl-ca-certfile ca.crt --ssl-certfile server.crt --ssl-keyfile server.key"
        where = f"--control-api-address 127.0.0.1:{control} --fleet-api-address 127.0.0.1:{fleet}"
        command = f"flower-superlink --host 127.0.0.1 --port {self.port} {where} {tls} --enable-supernode-auth"
        command += " --database link.db --isolation subprocess --disable-runtime-dependency-installation"
        self.server = self.start("link.log", command)
        trusted, end = ssl.create_default_context(cafile=self.home / "ca.crt"), time.monotonic() + STARTUP
        while self.server.poll() is None and time.monotonic() < end:
            health = f"https://127.0.0.1:{self.port}/health"
            with suppress(OSError, HTTPException), urllib.request.urlopen(health, timeout=1, context=trusted):
                return
            time.sleep(0.2)
        raise FedPromptError(f"the SuperLink does not answer: {self.last('link.log')}; see {self.home / 'link.log'}")

    def register(self, number: int) -> None:
        """Make a key for a SuperNode and let the SuperLink know of its public half."""
        key_pair(self.home, f"node-{number}")
        command = f"flwr supernode register node-{number}.pub here"
        self.say(f"$ {command}")
        options: dict = {"cwd": self.home, "env": self.environment, "capture_output": True, "text": True}
        try:
            done = subprocess.run(shlex.split(command), timeout=STARTUP, **options)
        except subprocess.TimeoutExpired as error:
            raise FedPromptError(f"`{command}` did not end within {STARTUP} seconds; see link.log") from error
        if done.returncode:
            raise FedPromptError(f"`{command}` said: {done.stdout.strip()[-300:]}")

    def node(self, number: int, *, ca: str = "ca.crt", key: str = "", folder: str = "", **environment: str) -> None:
        """Start the SuperNode of a client, which holds a folder; it may be one that ended."""
        given = f"partition-id={number}" + (f' data-dir="{self.home / folder}"' if folder else "")
        command = f"flower-supernode --superlink 127.0.0.1:{self.port} --root-certificates {ca} "
        command += f"--auth-supernode-private-key {key or f'node-{number}'} --port {self.free()} "
        command += f"--isolation subprocess --node-config {shlex.quote(given)}"
        self.nodes[number] = self.start(f"node-{number}.log", command, **environment)
        options = {"ca": ca, "key": key, "folder": folder, **environment}
        self.starts.setdefault(number, []).append((time.monotonic(), options))

    def last(self, log: str) -> str:
        """Return why Flower ended, as its log has it, or the last line."""
        text = (self.home / log).read_text("utf-8", errors="replace").strip()
        _, exits, reason = text.rpartition("Exit Code: ")
        said = exits + reason.partition("For more information")[0] if exits else text.rpartition("\n")[2]
        return " ".join(said.split())[:300] or "it said nothing"

    def watch(self) -> None:
        """Start again a SuperNode that has ended, as a service manager would, and give up after some starts."""
        for number, found in self.nodes.items():
            began, options = self.starts[number][-1]
            if (code := found.poll()) is not None and time.monotonic() > began + PAUSE:
                if len(self.starts[number]) >= STARTS:
                    said = f"{self.last(f'node-{number}.log')}; see {self.home / f'node-{number}.log'}"
                    raise FedPromptError(f"the SuperNode of client {number} ended {STARTS} times ({code}): {said}")
                self.say(f"the SuperNode of client {number} ended ({code}) and is started again")
                self.node(number, **options)

    def run(self, config: RunConfig, output: Path, silence: float, hear: Callable[[str], Any], save: str = "") -> Path:
        """Submit a run and hear what its ServerApp says; nothing said for `silence` seconds ends it."""
        config = RunConfig(**config.to_dict() | {"data_dir": None})  # where the data are, each node knows by itself
        folder, lines = output.absolute(), queue.SimpleQueue()
        record = folder / f"{config.name()}.json"
        unfinished = folder / f".{config.name()}.unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        before = record.stat().st_mtime_ns if record.exists() else None
        write_run(self.home, config, folder, str(unfinished), save)
        command = f"flwr run {shlex.quote(str(APP))} here --stream --run-config run.toml"
        self.say(f"$ {command}")
        options: dict = {"stdout": subprocess.PIPE, "cwd": self.home, "text": True}
        with process(shlex.split(command), self.environment, **options) as running:
            end, said = time.monotonic() + silence, ["nothing"]
            stream = running.stdout or ()
            threading.Thread(target=lambda: [*map(lines.put, stream), lines.put(None)], daemon=True).start()
            while (line := _get(lines)) is not None:
                if time.monotonic() > end or self.server.poll() is not None:
                    break
                self.watch()
                if line.strip():
                    end, said = time.monotonic() + silence, [*said, line.strip()]
                    hear(line)
        if record.exists() and record.stat().st_mtime_ns != before:
            shutil.rmtree(unfinished, ignore_errors=True)
            return record
        why = next((line for line in reversed(said) if "Error" in line), said[-1])
        raise FedPromptError(f"no record; the last that was said: {why}; the same command goes on after the last round")


def deploy_local(
    config: RunConfig, output: Path, *, home: Path, port: int = 0, timeout: int = 300,
    save: Path | None = None, hear: Callable[[str], Any] = print, **environment: str,
) -> Path:  # fmt: skip
    """Run a configuration as a real federation on this machine; return its record. Nothing is left running.

    A node is waited for `timeout` seconds at most, each time it is asked something.
    """
    if config.federation.setting != "federated" or not config.natural or config.data.task not in OWN:
        raise FedPromptError(
            "a SuperNode for each language needs a federation over --task own with a folder for each language in "
            "--data-dir; the other runs are for `fedprompt run`"
        )
    if save:
        check_save(config, save, "best", output)
    with Federation(home, port=port, say=hear, FEDPROMPT_TIMEOUT=str(timeout), **environment) as federation:
        for number, languages in enumerate(config.client_languages):
            for language in languages:
                give(Path(config.data.data_dir or ""), language, federation.home / f"data-{number}")
        certificates(federation.home)
        federation.link()
        for number in range(config.clients):
            federation.register(number)
            federation.node(number, folder=f"data-{number}")
        return federation.run(config, output, 4 * timeout + STARTUP, hear, str(save.absolute()) if save else "")


def give(everybody: Path, language: str, folder: Path) -> None:
    """Copy the folder of one language to its node."""
    if not (everybody / language).is_dir():
        raise FedPromptError(f"no folder {language} in {everybody}; expected one for each language: give --data-dir")
    shutil.copytree(everybody / language, folder / language, dirs_exist_ok=True)


def _get(lines: queue.SimpleQueue) -> str | None:
    """Return a line, nothing if there is none for a second, or None after the last."""
    with suppress(queue.Empty):
        return lines.get(timeout=1)
    return ""
