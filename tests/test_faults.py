"""Clients that fail and runs that are killed: really raised, really NaN, really kill -9."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from flwr.app import MessageType

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation.messages import from_record, to_record
from fedprompt_helpers.progress import Progress
from tests.apps import simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_backbone):
    sizes = {"train_size": 12, "dev_size": 12, "rounds": 3, "local_epochs": 1}
    return RunConfig(languages=("en", "cy", "ga"), method="prompt-tuning", backbone=tiny_backbone, **sizes)


def failing(how, clients=(1,), rounds=(2,)):
    """A Flower mod that lets some clients fail in some rounds of training, in one way."""

    def mod(message, context, call_next):
        chosen = (
            message.metadata.message_type == MessageType.TRAIN
            and context.node_config["partition-id"] in clients
            and message.content["config"]["server-round"] in rounds
        )
        if chosen and how == "raises":
            raise RuntimeError("the disk of this client is full")
        if chosen and how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        reply = call_next(message, context)
        if chosen:
            arrays = from_record(reply.content["arrays"])
            name = sorted(arrays)[0]
            if how == "sends NaN":
                arrays[name] = np.full_like(arrays[name], np.nan)
            if how == "sends a wrong shape":
                arrays[name] = arrays[name][:1]
            if how == "sends too few arrays":
                del arrays[name]
            reply.content["arrays"] = to_record(arrays)
        return reply

    return mod


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("raises", "the disk of this client is full"),
        ("is killed", "its process died"),
        ("sends NaN", "not finite"),
        ("sends a wrong shape", "in shape"),
        ("sends too few arrays", "other arrays"),
    ],
)
def test_the_round_goes_on_without_a_client_that(how, why, config, capsys):
    outcome = simulate(config, mods=[failing(how)])
    assert [len(entry["failed"]) for entry in outcome.rounds] == [0, 1, 0]
    (failure,) = outcome.rounds[1]["failed"]
    assert failure["client"] == 1
    assert why in failure["why"]
    with Progress(config) as say:
        for entry in outcome.rounds:
            say(entry)
    assert f"round 2: without client 1: it {failure['why']}" in capsys.readouterr().err
    assert set(outcome.test) == {"en", "cy", "ga"}
    assert all(np.isfinite(values).all() for values in outcome.arrays.values())
    # Learning goes on in the round after: the averaged arrays move again.
    assert outcome.rounds[2]["dev_loss"] != outcome.rounds[1]["dev_loss"]


def spoiling(spoil, kind, clients=(1,), rounds=(2,)):
    """A Flower mod that spoils the replies of some clients in some rounds."""

    def mod(message, context, call_next):
        reply = call_next(message, context)
        settings = message.content.get("config", {})
        chosen = context.node_config["partition-id"] in clients and settings.get("server-round") in rounds
        if message.metadata.message_type == kind and chosen and settings.get("split") != "test":
            spoil(reply.content)
        return reply

    return mod


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda content: content.pop("metrics"), "sent no metrics"),
        (lambda content: content.pop("arrays"), "sent no arrays"),
        (lambda content: content["metrics"].pop("num-examples"), "None as its number of examples"),
        (lambda content: content["metrics"].update({"num-examples": -20}), "-20 as its number of examples"),
        (lambda content: content["metrics"].update({"train-loss": float("nan")}), "nan as its training loss"),
    ],
    ids=["no metrics", "no arrays", "no count", "negative count", "loss of nan"],
)
def test_the_round_goes_on_without_a_malformed_reply(spoil, why, config):
    config = config.replace(rounds=2)
    outcome = simulate(config, mods=[spoiling(spoil, MessageType.TRAIN)])
    (failure,) = outcome.rounds[1]["failed"]
    assert failure["client"] == 1
    assert why in failure["why"]
    assert np.isfinite(outcome.rounds[1]["train_loss"])


def nan_scores(content):
    for key in content:
        if key.startswith("scores."):
            content[key]["loss"] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(nan_scores, "not finite"), (lambda content: content.pop("metrics"), None)],
    ids=["nan", "no metrics"],
)
def test_a_client_that_cannot_score_does_not_stop_the_run(spoil, why, config):
    outcome = simulate(config, mods=[spoiling(spoil, MessageType.EVALUATE, rounds=(3,))])
    assert len(outcome.rounds) == 3
    assert set(outcome.test) == {"en", "cy", "ga"}
    last = outcome.rounds[2]
    if why is None:  # nothing that scoring needs
        assert not last["failed"]
        return
    assert {failure["client"] for failure in last["failed"]} == {1}
    assert all(why in failure["why"] for failure in last["failed"])
    assert set(last["dev"]) == {"en", "ga"}
    assert np.isfinite(last["dev_loss"])
    assert outcome.best_round < 3  # a mean over fewer languages is not compared


def test_a_client_that_dies_while_scoring_is_asked_again_and_counted(config, tmp_path):
    mark = tmp_path / "died"

    def dies_once(message, context, call_next):
        if message.metadata.message_type == MessageType.EVALUATE:
            with contextlib.suppress(FileExistsError):  # of two clients at once, one dies
                mark.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return call_next(message, context)

    outcome = simulate(config.replace(rounds=1), mods=[dies_once])
    (failure,) = outcome.rounds[0]["failed"]
    assert "its process died" in failure["why"]
    assert set(outcome.rounds[0]["dev"]) == {"en", "cy", "ga"}


def test_too_few_clients_stop_the_run_and_the_same_call_goes_on(config, tmp_path):
    whole = simulate(config)
    seen = []
    with pytest.raises(FedPromptError, match=r"round 2: only 1 of 3 clients.*finished rounds are kept"):
        simulate(config, folder=tmp_path, mods=[failing("raises", clients=(0, 2))])
    resumed = simulate(config, seen.append, folder=tmp_path)
    assert [entry.get("resumed", False) for entry in seen] == [True, False, False]
    assert resumed.test == whole.test


@pytest.mark.parametrize(
    "damaged", [b"\x80\x04half", b"", b"\xff\xfe", b"[]", b'{"tensors": "../../x"}', pickle.dumps(1)]
)
def test_a_damaged_checkpoint_is_said_not_dropped(damaged, config, tmp_path):
    (tmp_path / "round.json").write_bytes(damaged)
    with pytest.raises(FedPromptError, match=r"--again") as said:
        simulate(config.replace(rounds=1), folder=tmp_path)
    assert "\n" not in str(said.value)


class Planted:
    """A pickle that leaves a mark where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_nothing_in_a_runs_folder_is_executed(config, tmp_path):
    for name in ("checkpoint.pickle", "round.pickle", "round-1.safetensors", "client-0-round-1.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    assert len(simulate(config.replace(rounds=1), folder=tmp_path).rounds) == 1
    (tmp_path / "round-1.safetensors").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    with pytest.raises(FedPromptError, match="cannot be read"):
        simulate(config.replace(rounds=2), folder=tmp_path)
    assert not (tmp_path / "executed").exists()


def kill_and_resume(arguments: str, sign: str, folder, backbone, preloaded):
    """Give the records of a run and of one that was killed as soon as `sign` was there, then run again."""
    given = ["run", *arguments.split(), "--backbone", backbone, "--output"]
    command = preloaded("fedprompt_helpers.cli:main", *given)
    subprocess.run([*command, str(folder / "whole")], check=True, capture_output=True)

    alone = [sys.executable, "-m", "fedprompt_helpers", *given, str(folder / "killed")]
    process = subprocess.Popen(alone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not list((folder / "killed").glob(f".*.unfinished/{sign}")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children()
    assert workers
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]  # nobody stays behind
    assert not list((folder / "killed").glob("*.json"))

    resumed = subprocess.run([*command, str(folder / "killed")], check=True, capture_output=True, text=True)
    (a,), (b,) = ((folder / name).glob("*.json") for name in ("whole", "killed"))
    assert [p.suffix for p in (folder / "killed").iterdir()] == [".json"]
    return json.loads(a.read_text()), json.loads(b.read_text()), resumed.stderr


@pytest.mark.parametrize(
    "aggregation",
    [
        "--aggregation fedadam --server-learning-rate 0.01 --head local",
        "--aggregation fedavgm --server-momentum 0.5",
        "--aggregation fedavg-distance",
    ],
    ids=["fedadam and heads", "fedavgm", "distance"],
)
def test_kill_9_and_the_same_command_gives_the_uninterrupted_result(aggregation, tiny_backbone, tmp_path, preloaded):
    # With a server that has a memory of its own (Adam), and clients that keep their heads to themselves.
    a, b, said = kill_and_resume(
        f"--languages en,cy --train-size 32 --dev-size 16 --rounds 12 --local-epochs 1 --patience 0 {aggregation}",
        "round.json",
        tmp_path,
        tiny_backbone,
        preloaded,
    )
    assert "was finished before" in said
    for record in (a, b):
        for entry in record["rounds"]:
            # Seconds differ, and so do a few bytes: Flower's message ids and times are serialized too.
            del entry["seconds"], entry["bytes"], entry["client_bytes"]
    assert a["rounds"] == b["rounds"]
    assert a["test"] == b["test"]


def test_kill_9_while_languages_train_alone_keeps_those_that_are_finished(tiny_backbone, tmp_path, preloaded):
    languages = "en,cy,ga,is"
    a, b, _ = kill_and_resume(
        f"--setting local --languages {languages} --train-size 60 --rounds 8 --local-epochs 2 --patience 0",
        "alone-*.json",
        tmp_path,
        tiny_backbone,
        preloaded,
    )
    for record in (a, b):
        for epochs in record["epochs"].values():
            for entry in epochs:
                del entry["seconds"]
    assert list(a["epochs"]) == languages.split(",")
    assert a["epochs"] == b["epochs"]
    assert a["test"] == b["test"]


def test_a_client_that_says_nothing_in_time_is_in_the_record(config, monkeypatch):
    monkeypatch.setattr("fedprompt_helpers.federation.strategies.TIMEOUT", 5)
    monkeypatch.setattr("fedprompt_helpers.federation.server.TIMEOUT", 5)

    def slow(message, context, call_next):
        said = message.content.get("config", {})
        kind = message.metadata.message_type
        if context.node_config["partition-id"] == 1 and kind == MessageType.TRAIN and said["server-round"] == 2:
            time.sleep(8)
        return call_next(message, context)

    outcome = simulate(config, mods=[slow], workers=3)
    assert [entry["failed"] for entry in outcome.rounds[::2]] == [[], []]
    assert {"client": 1, "why": "did not answer within 5 seconds"} in outcome.rounds[1]["failed"]
    assert set(outcome.test) == {"en", "cy", "ga"}


def test_a_node_with_another_encoder_is_refused(config):
    def other(message, context, call_next):
        reply = call_next(message, context)
        if message.metadata.message_type == "query.about" and context.node_config["partition-id"] == 1:
            said = json.loads(reply.content["said"]["about"]) | {"backbone": "0123456789abcdef"}
            reply.content["said"]["about"] = json.dumps(said)
        return reply

    with pytest.raises(FedPromptError, match="client 1 holds another backbone: its digest is 0123456789abcdef"):
        simulate(config, mods=[other])


def test_what_a_superlink_says_of_a_dead_node_is_in_the_record():
    from flwr.app import Error, Message, RecordDict

    from fedprompt_helpers.federation.grid import outside_a_run
    from fedprompt_helpers.federation.state import Job, Outcome
    from fedprompt_helpers.federation.strategies import Exchange

    config = RunConfig(languages=("en", "cy"))
    exchange = Exchange(Job(config, {70: 0, 80: 1}, ("a", "b"), Outcome(), None, lambda entry: None))
    exchange.asked = {0, 1}
    outside_a_run()
    asked = Message(RecordDict(), dst_node_id=1, message_type="train")  # 1 is the SuperLink itself
    dead = Message(Error(code=2, reason="Node unavailable"), reply_to=asked)
    assert exchange.take([dead], lambda client, reply: reply) == {}
    assert [failure["client"] for failure in exchange.failed] == [0, 1]
    assert "Node unavailable" in exchange.failed[0]["why"]


@pytest.mark.slow
def test_a_wait_that_is_no_number_is_one_line():
    command = [sys.executable, "-m", "fedprompt_helpers", "run", "--languages", "en,cy"]
    environment = {**os.environ, "FEDPROMPT_TIMEOUT": "soon"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    said = "fedprompt: error: FEDPROMPT_TIMEOUT is 'soon', expected whole seconds, at least 1; change it or unset it"
    assert done.stderr.strip() == said
