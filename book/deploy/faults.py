"""Break a federation on purpose, one fault at a time, and write down what was seen, each result at once."""

import csv
import datetime
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

import fedprompt_helpers as fp
from fedprompt_helpers.deploy import Federation, give
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.trust import certificates, key_pair

from .folders import write_folders
from .warm import warm_programs

LANGUAGES, TIMEOUT, SILENCE = ("en", "cy", "ga"), 60, 300
TARGET = Path(__file__).resolve().parents[1] / "results" / "deploy" / "faults.csv"
FIELDS: list[str] = ["fault", "done", "seen", "in_the_record", "finished", "seconds", "date"]
OWN = {"task": "own", "languages": LANGUAGES, "train_size": 24, "dev_size": 12, "local_epochs": 1, "method": "head"}
CONFIG = fp.RunConfig(**OWN, rounds=2, patience=None)


class Trial(NamedTuple):
    """A federation that is about to be broken: where its data and records are, and what it said."""

    federation: Federation
    folder: Path
    heard: list[str]

    def begin(self, wrong: int | None = None, skip: tuple = (), **options) -> None:
        """Start the SuperLink and the nodes; one of them with something wrong, or not at all."""
        home = self.federation.home
        self.federation.link()
        for number, language in enumerate(LANGUAGES):
            give(self.folder / "data", language, home / f"data-{number}")
            self.federation.register(number)
            if number not in skip:
                wrongly = options if number == wrong else {}
                self.federation.node(number, folder=f"data-{number}", **wrongly)

    def run(self, at: str = "", act: Callable = lambda: None, config=CONFIG, **extra) -> Path:
        """Submit the run; act once when a line says something."""
        waiting = [act]

        def hear(line: str) -> None:
            self.heard.append(line.strip())
            if at and at in line and waiting:
                waiting.pop()()

        return self.federation.run(config, self.folder / "runs", SILENCE, hear, **extra)


def kill(process) -> None:
    """End a process and all that it started, as if somebody had pulled the plug."""
    family = [process]
    with suppress(psutil.Error):  # it may be dead already
        family += process.children(recursive=True)
    for each in family:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(family, 10)


def node_killed(trial: Trial) -> Path:
    """The SuperNode of Irish is killed while it trains in round 2, and started again by the supervisor"""
    trial.begin()
    log, node = trial.federation.home / "node-2.log", trial.federation.nodes[2]

    def wait_and_kill() -> None:
        before, end = log.read_text("utf-8").count("Receiving: train"), time.monotonic() + 30
        while log.read_text("utf-8").count("Receiving: train") == before and time.monotonic() < end:
            time.sleep(0.05)
        kill(node)

    return trial.run("round 1:", wait_and_kill)


def late_node(trial: Trial) -> Path:
    """The SuperNode of Irish is started when the run has been waiting for it"""
    trial.begin(skip=(2,))
    late = lambda: (time.sleep(8), trial.federation.node(2, folder="data-2"))  # noqa: E731
    return trial.run("Start", late)


def unknown_key(trial: Trial) -> Path:
    """The SuperNode of Irish has a key that nobody registered"""
    key_pair(trial.federation.home, "stranger")
    trial.begin(wrong=2, key="stranger")
    return trial.run()


def wrong_ca(trial: Trial) -> Path:
    """The SuperNode of Irish trusts another certificate authority"""
    certificates(trial.federation.home, "other", "other-server")
    trial.begin(wrong=2, ca="other.crt")
    return trial.run()


def other_encoder(trial: Trial) -> Path:
    """The node of Irish has another encoder under the same name"""
    from fedprompt_helpers.model.backbones import resolve

    for name in ("everybody", "irish"):
        shutil.copytree(resolve("pocket", 2), trial.folder / name / "encoder")
    from safetensors.torch import load_file, save_file

    weights = trial.folder / "irish" / "encoder" / "model.safetensors"
    arrays = load_file(weights)
    first = sorted(arrays)[0]
    arrays[first] = arrays[first] * 1.001
    save_file(arrays, weights, {"format": "pt"})
    trial.federation.environment["HOME"] = str(trial.folder / "everybody")
    trial.begin(wrong=2, HOME=str(trial.folder / "irish"))
    return trial.run(config=CONFIG.replace(backbone="~/encoder"))


def server_restarted(trial: Trial) -> Path:
    """The SuperLink is killed after round 1, started again, and the same command given once more"""
    trial.begin()
    with suppress(FedPromptError):
        trial.run("round 1:", lambda: kill(trial.federation.server))
    trial.heard.append("killed")
    kill(trial.federation.server)
    trial.federation.link()
    return trial.run()


def folder_vanishes(trial: Trial) -> Path:
    """The data folder of Irish is deleted after round 1"""
    trial.begin()
    gone = trial.federation.home / "data-2"
    return trial.run("round 1:", lambda: shutil.rmtree(gone))


def port_in_use(trial: Trial) -> Path:
    """Another program listens on the port of the SuperLink"""
    with socket.create_server(("127.0.0.1", trial.federation.port)):
        trial.begin()
    return trial.run()


def wrong_clock(trial: Trial) -> Path:
    """The server's certificate begins to be valid in two days, as seen by a clock that is two days slow"""
    home = trial.federation.home
    certificates(home)
    good = {name: (home / name).read_bytes() for name in ("ca.crt", "server.crt", "server.key")}
    certificates(home, ahead=2)
    try:
        trial.begin()
    except FedPromptError as error:
        for name, content in good.items():
            (home / name).write_bytes(content)
        raise error
    return trial.run()


def insecure_node(trial: Trial) -> Path:
    """The SuperNode of Irish speaks without TLS"""
    trial.begin(skip=(2,))
    federation = trial.federation
    command = f"flower-supernode --insecure --superlink 127.0.0.1:{federation.port} --port {federation.free()}"
    federation.start("insecure.log", f"{command} --isolation subprocess --node-config partition-id=2")
    return trial.run()


FAULTS = {
    "node killed": node_killed,
    "late node": late_node,
    "unknown key": unknown_key,
    "wrong CA": wrong_ca,
    "another encoder": other_encoder,
    "server restarted": server_restarted,
    "folder vanishes": folder_vanishes,
    "port in use": port_in_use,
    "wrong clock": wrong_clock,
    "node without TLS": insecure_node,
}


def try_fault(name: str, programs: str, target: Path = TARGET) -> dict:
    """Do one fault, and write down what was seen."""
    began, record = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        heard, options = [], {"PATH": programs, "OMP_NUM_THREADS": "1", "FEDPROMPT_TIMEOUT": str(TIMEOUT)}
        write_folders(Path(folder, "data"), LANGUAGES)
        with Federation(Path(folder, "home"), say=heard.append, **options) as federation:
            certificates(federation.home)
            try:
                path = FAULTS[name](Trial(federation, Path(folder), heard))
                record = json.loads(path.read_text("utf-8"))
                seen = next((x for x in heard if "started again" in x or "Error" in x), "the run finished")
            except FedPromptError as error:
                seen = str(error)
            print(*heard[-40:], sep="\n", flush=True)
        seen = seen.replace(folder, "FOLDER").replace(str(Path.home()), "~")
    said = [
        f"round {entry['round']}: client {failure['client']} {failure['why']}".replace(folder, "FOLDER")
        for entry in record.get("rounds", ())
        for failure in entry["failed"]
    ]
    row = {"fault": name, "done": (FAULTS[name].__doc__ or "").strip(), "seen": " ".join(seen.split())}
    row |= {"in_the_record": "; ".join(said) or ("nothing" if record else "no record"), "finished": bool(record)}
    row |= {"seconds": round(time.monotonic() - began), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(target.open(encoding="utf-8"))) if target.exists() else []
    rows = [old for old in rows if old["fault"] != name] + [row]
    rows.sort(key=lambda each: list(FAULTS).index(each["fault"]))
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return row


def try_all(names: list[str]) -> None:
    """Do the faults that are named, or all of them."""
    with warm_programs() as programs:
        for name in names or FAULTS:
            row = try_fault(name, programs)
            print(json.dumps(row, indent=1), flush=True)
