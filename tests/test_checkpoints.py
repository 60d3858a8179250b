"""What a stopped run leaves in its unfinished folder: data, read whole or refused, never code, never elsewhere."""

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation.state import read_state, write_state
from fedprompt_helpers.records import load_record
from fedprompt_helpers.runs import run, simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_backbone):
    sizes = {"train_size": 8, "dev_size": 8, "rounds": 2, "local_epochs": 1, "patience": None}
    return RunConfig(languages=("en", "cy"), backbone=tiny_backbone, learning_rate=0.01, **sizes)


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory):
    """The folder of a federation that was stopped after its first round."""
    folder = tmp_path_factory.mktemp("stopped")
    simulate(config.replace(rounds=1), folder=folder)
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "folder")


class Planted:
    """A pickle that makes a folder where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_the_folder_holds_arrays_and_facts_and_a_log(stopped):
    assert {path.name for path in stopped.iterdir()} == {"round.json", "round-1.safetensors", "flower.log"}
    assert json.loads((stopped / "round.json").read_text())["tensors"] == "round-1.safetensors"


@pytest.mark.parametrize("name", ["checkpoint.pickle", "round-1.safetensors", "round.json"])
def test_a_planted_pickle_is_never_executed(name, config, folder, tmp_path):
    (folder / name).write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    if name == "checkpoint.pickle":
        assert len(simulate(config, folder=folder).rounds) == 2
    else:
        with pytest.raises(FedPromptError, match="cannot be read"):
            simulate(config, folder=folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "ABSOLUTE", "nested/../../elsewhere.safetensors"])
def test_a_planted_name_is_not_read_outside_the_folder(place, config, folder, tmp_path):
    outside = tmp_path / "elsewhere.safetensors"
    shutil.move(folder / "round-1.safetensors", outside)
    facts = json.loads((folder / "round.json").read_text())
    (folder / "round.json").write_text(json.dumps(facts | {"tensors": place.replace("ABSOLUTE", str(outside))}))
    with pytest.raises(FedPromptError, match="begin anew with --again"):
        simulate(config, folder=folder)


def without(key):
    def change(facts, arrays):
        del facts[key]

    return change


def fewer_arrays(facts, arrays):
    for name in list(arrays):
        if name.startswith("best "):
            del arrays[name]


def one_more_array(name):
    def change(facts, arrays):
        facts["order"].append(name)
        arrays[name] = np.ones(3)

    return change


DAMAGES = {
    "no outcome": without("outcome"),
    "no best": without("best"),
    "an unknown fact": lambda facts, arrays: facts["outcome"].update(colour="blue"),
    "an outcome of words": lambda facts, arrays: facts.update(outcome="good"),
    "fewer arrays": fewer_arrays,
    "another node": one_more_array("state/77/own-1 x"),
    "a node of words": one_more_array("state/x/own-1 x"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_of_another_shape_is_said_not_dropped(damage, config, folder):
    facts, arrays = json.loads((folder / "round.json").read_text()), load_file(folder / "round-1.safetensors")
    damage(facts, arrays)
    (folder / "round.json").write_text(json.dumps(facts))
    save_file(arrays, folder / "round-1.safetensors")
    with pytest.raises(FedPromptError, match=r"cannot be read.*begin anew with --again") as said:
        simulate(config, folder=folder)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("size", [0, 7, 200, -1])
def test_a_file_of_arrays_that_was_cut_is_said(size, config, folder):
    whole = (folder / "round-1.safetensors").read_bytes()
    (folder / "round-1.safetensors").write_bytes(whole[:size])
    with pytest.raises(FedPromptError, match="begin anew with --again"):
        simulate(config, folder=folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"done": 1, "tensors": "alone-0-0.safetensors"}', "\0"])
def test_what_a_language_alone_left_is_said_if_it_is_damaged(content, config, tmp_path):
    save_file({"arrays x": np.ones(3)}, tmp_path / "alone-0-0.safetensors")
    (tmp_path / "alone-0.json").write_text(content)
    with pytest.raises(FedPromptError, match="begin anew with --again"):
        simulate(config.replace(setting="local"), folder=tmp_path)


def test_again_begins_anew_where_a_checkpoint_is_damaged(config, tmp_path):
    unfinished = tmp_path / f".{config.name()}.unfinished"
    unfinished.mkdir()
    (unfinished / "round.json").write_text("half a fi")
    with pytest.raises(FedPromptError, match=r"--again \(again=True\)"):
        run(config, tmp_path)
    path = run(config, tmp_path, again=True)
    assert list(tmp_path.iterdir()) == [path] and len(load_record(path)["rounds"]) == 2


def test_what_was_kept_of_other_texts_is_not_taken_over(config, folder):
    facts = json.loads((folder / "round.json").read_text())
    facts["texts"][0]["en"] = "of another text"
    (folder / "round.json").write_text(json.dumps(facts))
    seen = []
    simulate(config, seen.append, folder=folder)
    assert [entry.get("resumed", False) for entry in seen] == [False, False]


OPTIONS = {
    "fedavg": {},
    "fedavgm": {"aggregation": "fedavgm", "server_momentum": 0.5},
    "fedadam": {"aggregation": "fedadam"},
    "distance": {"aggregation": "fedavg-distance"},
    "local heads": {"head": "local"},
    "int8": {"update_precision": "int8"},
    "prototypes": {"head_start": "prototypes"},
    "personal": {"personal_epochs": 1},
    "fedadam, local heads": {"aggregation": "fedadam", "head": "local", "update_precision": "float16"},
}


@pytest.mark.parametrize("more", OPTIONS.values(), ids=OPTIONS)
def test_a_stopped_federation_ends_bit_for_bit_as_one_that_was_not(more, config, tmp_path):
    config = config.replace(rounds=3, **more)
    whole = simulate(config)
    for rounds in (1, 2):
        simulate(config.replace(rounds=rounds), folder=tmp_path)
    seen = []
    resumed = simulate(config, seen.append, folder=tmp_path)
    assert [entry.get("resumed", False) for entry in seen] == [True, True, False]
    for one, other in ((resumed.arrays, whole.arrays), *((resumed.own[name], whole.own[name]) for name in whole.own)):
        assert list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)
    assert resumed.test == whole.test and resumed.best_round == whole.best_round
    assert resumed.client_digests == whole.client_digests and list(resumed.start) == list(whole.start)
    assert [entry["dev"] for entry in resumed.rounds] == [entry["dev"] for entry in whole.rounds]


def test_a_folder_that_goes_away_during_a_run_is_one_line(config, tmp_path):
    unfinished = tmp_path / f".{config.name()}.unfinished"
    with pytest.raises(FedPromptError, match=r"cannot write .*--output") as said:
        run(config, tmp_path, on_progress=lambda entry: shutil.rmtree(unfinished))
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [200, 20_000])
def test_no_room_for_a_finished_round_is_one_line_and_nothing_half_written(room, config, tmp_path):
    """A file may not grow beyond a size: what a full disk or a quota does."""
    given = [
        "run",
        "--languages",
        "en,cy",
        "--train-size",
        "8",
        "--dev-size",
        "8",
        "--rounds",
        "1",
        "--local-epochs",
        "1",
    ]
    given += ["--backbone", config.model.backbone, "--output", str(tmp_path / "runs")]

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    result = subprocess.run(
        [sys.executable, "-m", "fedprompt_helpers", *given], capture_output=True, text=True, preexec_fn=limited
    )
    assert result.returncode == 2, result.stderr
    assert "cannot write" in result.stderr and "Traceback" not in result.stderr
    left = [path.name for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert left == ["flower.log"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_one_line(config, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FedPromptError, match="choose another folder with --output"):
        run(config, tmp_path / "runs")


def test_kept_arrays_are_read_back_as_they_were(tmp_path):
    parts = {"arrays": {"a b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "c": np.float32([])}}
    write_state(tmp_path, "round", {"texts": ["x"], "best": 0.1}, parts, 2)
    facts, read = read_state(tmp_path, "round", ["x"])
    assert facts["best"] == 0.1 and list(read["arrays"]) == list(parts["arrays"])
    assert all(np.array_equal(read["arrays"][name], parts["arrays"][name]) for name in parts["arrays"])
    write_state(tmp_path, "round", {"texts": ["x"]}, parts, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"round.json", "round-3.safetensors"}
    assert read_state(tmp_path, "round", ["y"]) is None and read_state(tmp_path, "alone-0", ["x"]) is None
