"""One configuration, the same two apps, three runtimes: here, under `flwr run`, and on a SuperLink with SuperNodes."""

import csv
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import fedprompt_helpers as fp

pytestmark = pytest.mark.slow
PACKAGE = Path(fp.__file__).parent
LANGUAGES = ("en", "cy")


def own_data(folder: Path, languages) -> Path:
    """Write a few voice commands as somebody's own data, with a folder for each language."""
    for language in languages:
        (folder / language).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            with (PACKAGE / "data/intents" / language / f"{split}.tsv").open(encoding="utf-8") as stream:
                rows = [row[:2] for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
            text = "\n".join("\t".join(row) for row in rows) + "\n"
            (folder / language / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def configuration(tmp_path_factory, tiny_backbone):
    folder = own_data(tmp_path_factory.mktemp("everybody"), LANGUAGES)
    sizes = {"train_size": 16, "dev_size": 16, "rounds": 2, "local_epochs": 1}
    return fp.RunConfig(task="own", languages=LANGUAGES, data_dir=str(folder), backbone=str(tiny_backbone), **sizes)


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order everywhere."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)


@pytest.fixture(scope="module")
def here(configuration, one_thread, tmp_path_factory):
    return fp.load_record(fp.run(configuration, tmp_path_factory.mktemp("here")))


def test_flwr_run_gives_the_same_scores_and_leaves_nothing_running(configuration, here, tmp_path):
    before = {process.pid for process in psutil.process_iter()}
    record = fp.load_record(fp.run(configuration, tmp_path, runtime="flower"))
    assert record["test"] == here["test"]
    assert [entry["dev"] for entry in record["rounds"]] == [entry["dev"] for entry in here["rounds"]]
    assert record["data_digest"] == here["data_digest"] and record["runtime"] == "flower"
    for _ in range(50):
        new = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before]
        left = [
            p
            for p in new
            if {"ray", "flwr", "flower"} & set(" ".join(p.info["cmdline"] or ()).replace("-", " ").split())
        ]
        if not left:
            break
        time.sleep(0.2)
    assert not left


@contextmanager
def started(environment, log: Path, *command):
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                with suppress(OSError):
                    os.killpg(process.pid, sign)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def federation(home: Path, folders: list[Path], preloaded):
    """A SuperLink, and one SuperNode for each folder, which holds that node's own data.

    Each message to an app is a process of its own, which has PyTorch loaded when it begins.
    """
    link, control, fleet, *ports = free_ports(3 + len(folders))
    path = os.pathsep.join([str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    (home / "bin").mkdir()
    for name, of in {"flwr-clientapp": "flwr.supernode.cli", "flwr-serverapp": "flwr.superlink.cli"}.items():
        program, command = home / "bin" / name, preloaded(f"{of}:{name.replace('-', '_')}")
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        program.chmod(0o755)
    environment = {**os.environ, "FLWR_HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "1"}
    connection = f'default = "link"\n\n[superlink.link]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
    (home / "config.toml").write_text(f"[superlink]\n{connection}")
    with ExitStack() as stack:
        addresses = ["--port", str(link), "--control-api-address", f"127.0.0.1:{control}"]
        addresses += ["--fleet-api-address", f"127.0.0.1:{fleet}", "--host", "127.0.0.1", "--isolation", "subprocess"]
        stack.enter_context(started(environment, home / "link.log", "flower-superlink", "--insecure", *addresses))
        for _ in range(200):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{link}/health", timeout=1):
                break
            time.sleep(0.2)
        for i, (port, folder) in enumerate(zip(ports, folders, strict=True)):
            node = ["--node-config", f'partition-id={i} num-partitions={len(folders)} data-dir="{folder}"']
            node += ["--superlink", f"127.0.0.1:{link}", "--port", str(port), "--isolation", "subprocess"]
            stack.enter_context(started(environment, home / f"node-{i}.log", "flower-supernode", "--insecure", *node))
        yield environment


def submit(environment, config, output: Path) -> str:
    settings = config.to_text() | {"output": str(output), "data-dir": "", "folder": ""}
    file = output / "run.toml"
    file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()), encoding="utf-8")
    command = ["flwr", "run", str(PACKAGE / "flower_app"), "link", "--stream", "--run-config", str(file)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400).stdout


def test_nodes_with_a_folder_of_one_language_each_give_the_same_scores(configuration, here, tmp_path, preloaded):
    folders = [own_data(tmp_path / f"node-{i}", [language]) for i, language in enumerate(LANGUAGES)]
    output, home = tmp_path / "records", tmp_path / "home"
    output.mkdir(), home.mkdir()
    with federation(home, folders, preloaded) as environment:
        said = submit(environment, configuration, output)
    [path] = output.glob("own-*.json")
    record = fp.load_record(path)
    assert "round 2: loss" in said
    assert record["test"] == here["test"]
    assert record["data_digest"] == here["data_digest"]


def test_a_node_without_a_folder_is_one_line(configuration, tmp_path, preloaded):
    folders = [own_data(tmp_path / "node-0", ["en"]), tmp_path / "nothing"]
    output, home = tmp_path / "records", tmp_path / "home"
    output.mkdir(), home.mkdir()
    with federation(home, folders, preloaded) as environment:
        said = submit(environment, configuration, output)
    assert "FedPromptError: data_dir is" in said and "where nothing is" in said, said
    assert not list(output.glob("*.json"))
