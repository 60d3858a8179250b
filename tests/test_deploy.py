"""A real federation on this machine: who is refused, what is the same, and that nothing is left running."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

import fedprompt_helpers as fp
from book.deploy.faults import FAULTS, TARGET
from book.deploy.folders import write_folders
from book.deploy.warm import warm_programs
from fedprompt_helpers.deploy import Federation, deploy_local
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.trust import certificates, key_pair

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"train_size": 16, "dev_size": 16, "rounds": 2, "local_epochs": 1, "patience": None}


def shake(folder: Path, ca: str, server: str, name: str = "localhost") -> None:
    """Let a client that trusts an authority meet a server, in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here, there = ssl.create_default_context(cafile=folder / f"{ca}.crt"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(folder / f"{server}.crt", folder / f"{server}.key")
    sides = here.wrap_bio(down, up, server_hostname=name), there.wrap_bio(up, down, server_side=True)
    done = set()
    for side in sides * 3:
        try:
            side.do_handshake()
            done.add(side)
        except ssl.SSLWantReadError:
            continue
    assert len(done) == 2


def test_a_server_is_trusted_for_its_signature_its_name_and_its_dates(tmp_path):
    certificates(tmp_path)
    certificates(tmp_path, "other", "impostor")
    certificates(tmp_path, "early", "tomorrow", ahead=2)
    shake(tmp_path, "ca", "server")
    shake(tmp_path, "ca", "server", "127.0.0.1")
    for wrong, why in (
        (("ca", "impostor"), "self|issuer|verify"),
        (("early", "tomorrow"), "not yet valid"),
        (("ca", "server", "example.org"), "mismatch|not valid for"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match=why):
            shake(tmp_path, *wrong)


def test_ssh_reads_a_key_and_nobody_else_may(tmp_path):
    key_pair(tmp_path, "node")
    certificates(tmp_path)
    said = subprocess.run(["ssh-keygen", "-y", "-f", tmp_path / "node"], capture_output=True, text=True)
    assert said.stdout.split()[:2] == (tmp_path / "node.pub").read_text().split()[:2]
    for private in ("node", "server.key"):
        assert os.name == "nt" or (tmp_path / private).stat().st_mode & 0o077 == 0


def test_a_port_in_use_is_one_line(tmp_path):
    for language in ("en", "cy"):
        (tmp_path / language).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = fp.RunConfig(task="own", languages=("en", "cy"), data_dir=str(tmp_path))
        with pytest.raises(FedPromptError, match=f"port {port} is in use"):
            deploy_local(config, tmp_path, home=tmp_path / "home", port=port)


@pytest.mark.parametrize(
    ("changed", "why"),
    [({}, "needs a federation over --task own"), ({"task": "own", "data_dir": "nowhere"}, "no folder en in nowhere")],
)
def test_what_cannot_be_given_to_nodes_is_one_line(changed, why, tmp_path):
    config = fp.RunConfig(languages=("en", "cy"), **changed)
    with pytest.raises(FedPromptError, match=why):
        deploy_local(config, tmp_path / "runs", home=tmp_path / "home")


def test_containers_give_options_that_are_tried():
    source = (ROOT / "fedprompt_helpers/deploy.py").read_text("utf-8")
    for name, program in (("server", "flower-superlink"), ("node", "flower-supernode")):
        services = yaml.safe_load((ROOT / f"book/deploy/{name}.compose.yaml").read_text("utf-8"))["services"]
        service = services["superlink" if name == "server" else "supernode"]
        assert "ports" not in service
        assert service["command"].split()[0] == program
        asked = set(re.findall(r"--[a-z-]+", service["command"]))
        assert len(asked) > 4
        assert asked <= set(re.findall(r"--[a-z-]+", source))


def test_rows_are_faults_that_can_be_done_again():
    names = [line.partition(",")[0] for line in TARGET.read_text("utf-8").splitlines()[1:]]
    assert names and names == [name for name in FAULTS if name in names]


MARK = "FEDPROMPT_TEST_OF_NOTHING_LEFT"


def of_flower(folder: Path) -> list[str]:
    """Flower's processes that inherited a test's mark, once they have had ten seconds to end; others run their own."""
    left = []
    for _ in range(50):
        left = []
        for each in psutil.process_iter(["cmdline", "status"]):
            line = " ".join(each.info["cmdline"] or ())
            with suppress(psutil.Error):
                of_ours = each.environ().get(MARK) == str(folder) and each.info["status"] != psutil.STATUS_ZOMBIE
                left += [line] if of_ours and ("flower-" in line or "flwr" in line) else []
        if not left:
            break
        time.sleep(0.2)
    return left


@pytest.mark.slow
def test_it_gives_the_scores_of_the_grid_and_leaves_nothing(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = write_folders(tmp_path / "data", ("en", "cy"))
    monkeypatch.setenv(MARK, str(tmp_path))
    own = {"task": "own", "languages": ("en", "cy"), "data_dir": str(data), "backbone": str(tiny_backbone)}
    config, heard = fp.RunConfig(**own, **SIZES), []
    here = fp.load_record(fp.run(config, tmp_path / "here"))
    with warm_programs() as programs:
        options = {"home": tmp_path / "home", "save": tmp_path / "adapter", "hear": heard.append, "PATH": programs}
        there = fp.load_record(deploy_local(config, tmp_path / "there", **options))
    assert there["test"] == here["test"] and there["predictions"] == here["predictions"]
    assert [x["dev"] for x in there["rounds"]] == [x["dev"] for x in here["rounds"]]
    assert there["data_digest"] == here["data_digest"] and there["runtime"] == "flower"
    assert len([line for line in heard if line.startswith("$ flower-supernode")]) == 2
    assert fp.classify(fp.load_adapter(tmp_path / "adapter"), ["play some music"])[0].label in here["labels"]
    assert not of_flower(tmp_path)


@pytest.mark.slow
def test_ctrl_c_ends_everything(tmp_path, monkeypatch):
    data = write_folders(tmp_path / "data", ("en", "cy"))
    monkeypatch.setenv(MARK, str(tmp_path))
    command = [sys.executable, "-m", "fedprompt_helpers", "deploy-local", "--task", "own", "--data-dir", str(data)]
    command += ["--languages", "en,cy", "--output", str(tmp_path / "runs")]
    attend = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=attend) as running:
        for line in running.stderr or ():
            if "$ flwr run" in line:
                running.send_signal(signal.SIGINT)
                break
        assert "goes on after the last finished round" in (running.stderr.read() if running.stderr else "")
    assert running.returncode == 130
    assert not of_flower(tmp_path)


@pytest.mark.slow
def test_a_node_that_ends_again_and_again_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("fedprompt_helpers.deploy.PAUSE", 1)
    with Federation(tmp_path / "home", say=lambda line: None) as federation:
        certificates(federation.home)
        federation.node(0, ca="nothing.crt")
        with pytest.raises(FedPromptError, match="SuperNode of client 0 ended 5 times"):
            for _ in range(600):
                federation.watch()
                time.sleep(0.2)
    assert len(federation.starts[0]) == 5
