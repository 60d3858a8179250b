"""Records: whole, of the configuration and the data that were asked for; what a client opens; how a run is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import psutil
import pytest

import fedprompt_helpers as fp
from fedprompt_helpers.files import whole, write_json
from fedprompt_helpers.records import find_record, summary

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"languages": ("en", "cy"), "train_size": 16, "dev_size": 16, "rounds": 2, "local_epochs": 1}


def fedprompt(*arguments, **environment):
    command = [sys.executable, "-m", "fedprompt_helpers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_backbone):
    folder = tmp_path_factory.mktemp("runs")
    sizes = "--train-size 16 --dev-size 16 --rounds 2 --local-epochs 1"
    given = f"run --languages en,cy {sizes} --backbone {tiny_backbone}"
    result = fedprompt(*given.split(), "--output", folder)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.json")
    return path, result


@pytest.mark.slow
def test_run_writes_one_whole_record(ran):
    path, _ = ran
    content = fp.load_record(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert fp.RunConfig.from_dict(content["config"]).to_dict() == content["config"]
    assert fp.RunConfig.from_dict(content["config"]).name() == path.stem
    assert len(content["rounds"]) == 2 and set(content["test"]) == {"en", "cy"} == set(content["data_digest"])
    assert content["message_parameters"] == content["parameters"]["trainable"]
    assert content["versions"]["flwr"] and content["machine"]["device"] == "cpu" and content["runtime"] == "here"
    assert content["backbone_digest"]["before"] == content["backbone_digest"]["after"]


@pytest.mark.slow
def test_run_shows_progress_and_table(ran):
    _, result = ran
    for word in ("round 2", "loss", "dev accuracy en", "MB sent", "note: "):
        assert word in result.stderr
    for word in ("language", "majority", "macro-F1", "bytes an update", "bit-identical before and after: yes"):
        assert word in result.stdout
    assert "Warning" not in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_recorded_configuration_is_not_run_twice(ran, tiny_backbone):
    path, _ = ran
    before = path.stat().st_mtime_ns
    fp.run(fp.RunConfig(**SMALL, backbone=tiny_backbone), path.parent)
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["local", "centralised"])
def test_local_and_centralised_training_give_records(setting, tiny_backbone, tmp_path):
    entries, config = [], fp.RunConfig(**SMALL, setting=setting, backbone=tiny_backbone)
    content = fp.load_record(fp.run(config, tmp_path, on_progress=entries.append))
    assert set(content["test"]) == {"en", "cy"}
    assert len(entries) == (4 if setting == "local" else 2)
    assert summary(content)


def record_of(config, **more):
    """A record as it would be written, made by hand: nothing is run."""
    scores = {"loss": 1.0, "accuracy": 0.5, "macro_f1": 0.4, "examples": 10}
    return {"format": 2, "name": config.name(), "config": config.to_dict(), "test": {"en": scores}} | more


def test_a_file_of_the_right_name_with_another_configuration_is_refused(tmp_path):
    config = fp.RunConfig(**SMALL)
    assert find_record(tmp_path, config) is None
    write_json(tmp_path / f"{config.name()}.json", record_of(config.replace(rounds=9)))
    with pytest.raises(fp.FedPromptError, match=r"another configuration: rounds is 9 there, 2 was asked for"):
        find_record(tmp_path, config)
    with pytest.raises(fp.FedPromptError, match="rounds is 9 there"):
        fp.run(config, tmp_path)


def test_an_old_record_with_an_unknown_key_is_one_line(tmp_path):
    config = fp.RunConfig(**SMALL)
    record = record_of(config)
    record["config"]["momentum_of_old"] = 1
    write_json(tmp_path / f"{config.name()}.json", record)
    with pytest.raises(fp.FedPromptError, match=r"unknown field 'momentum_of_old'"):
        find_record(tmp_path, config)


def test_all_records_of_the_book_stay_readable(tmp_path):
    lines = (ROOT / "book/results/records.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 188
    for line in lines:
        path = tmp_path / "record.json"
        path.write_text(line, encoding="utf-8")
        record = fp.load_record(path)
        assert fp.RunConfig.from_dict(record["config"]).name() == record["name"]  # what records are found by
        assert record["name"] in summary(record)


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    write_json(tmp_path / "x.json", record_of(fp.RunConfig(**SMALL), format=99))
    with pytest.raises(fp.FedPromptError, match="newer"):
        fp.load_record(tmp_path / "x.json")


def test_files_are_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"bad": object()})
    with pytest.raises(fp.FedPromptError, match="cannot write"):
        write_json(tmp_path / f"{'x' * 300}.json", {})
    with pytest.raises(fp.FedPromptError, match="cannot write"):
        write_json(tmp_path / "gone" / "x.json", {})
    with pytest.raises(fp.FedPromptError, match="No space left"), whole(tmp_path / "full") as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def own_data(folder, languages=("xx", "yy")):
    for language in languages:
        (folder / language).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            rows = [f"{split} {word} {i}\t{label}" for i in range(9) for word, label in (("sun", "a"), ("rain", "b"))]
            (folder / language / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    return folder


@pytest.mark.slow
def test_a_record_of_other_data_is_not_taken_for_this_one(tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDPROMPT_DATA", str(own_data(tmp_path / "data")))
    given = {"languages": ("xx", "yy"), "setting": "centralised", "rounds": 1, "backbone": tiny_backbone}
    config = fp.RunConfig(task="own", **given)
    path = fp.run(config, tmp_path / "runs")
    assert fp.run(config, tmp_path / "runs") == path
    with (tmp_path / "data" / "yy" / "test.tsv").open("a") as file:
        file.write("train sun 1\ta\n")
    with pytest.raises(fp.FedPromptError, match="its data were others"):
        fp.run(config, tmp_path / "runs")


OPENS = """
import os, sys
serving = ["nobody"]
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)) and {folder!r} in os.fspath(arguments[0]):
        with open({log!r} + "/" + serving[0], "a") as file:
            file.write(os.path.relpath(arguments[0], {folder!r}) + "\\n")
def note(message, context, call_next):
    serving[0] = str(context.node_config["partition-id"])
    reply = call_next(message, context)
    serving[0] = "nobody"
    return reply
sys.addaudithook(watch)
from fedprompt_helpers.config import RunConfig
from tests.apps import simulate
if __name__ == "__main__":
    given = {{"data_dir": {folder!r}, "backbone": {backbone!r}, "setting": {setting!r}}}
    simulate(RunConfig(task="own", languages=("xx", "yy", "zz"), rounds=1, **given), mods=[note])
"""


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["federated", "local"])
def test_a_client_opens_its_own_files_alone(setting, tiny_backbone, tmp_path, preloaded):
    """The interpreter says which files were opened, and for which client."""
    folder, log = own_data(tmp_path / "data", ("xx", "yy", "zz")), tmp_path / "opened"
    log.mkdir()
    script = OPENS.format(folder=str(folder), log=str(log), backbone=tiny_backbone, setting=setting)
    (tmp_path / "script.py").write_text(script)
    result = subprocess.run(preloaded(tmp_path / "script.py"), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    opened = {path.name: {line.split("/")[0] for line in path.read_text().split()} for path in log.iterdir()}
    assert opened == {"0": {"xx"}, "1": {"yy"}, "2": {"zz"}}  # and the server's process opened none


def in_a_terminal(given: str):
    """Start the command as a shell does in the foreground, though these tests may run in the background."""
    options = {"timeout": 400, "encoding": "utf-8"}
    attend = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    return pexpect.spawn(sys.executable, ["-m", "fedprompt_helpers", *given.split()], preexec_fn=attend, **options)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["federated", "local", "centralised"])
def test_ctrl_c_ends_a_run_at_the_first_press(setting, tiny_backbone, tmp_path):
    given = "run --languages en,cy --train-size 200 --rounds 400 --patience 0"
    terminal = in_a_terminal(f"{given} --setting {setting} --backbone {tiny_backbone} --output {tmp_path}")
    terminal.expect(r"(round|epoch) [2-9]")
    workers = psutil.Process(terminal.pid).children(recursive=True)
    began = time.monotonic()
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert time.monotonic() - began < 15
    assert terminal.exitstatus == 130
    assert "stopped; the same command goes on" in terminal.before and "Traceback" not in terminal.before
    assert not psutil.wait_procs(workers, timeout=10)[1]


@pytest.mark.slow
def test_ctrl_c_ends_what_flower_started(tiny_backbone, tmp_path):
    given = "run --runtime flower --languages en,cy --train-size 8 --dev-size 8 --rounds 400 --patience 0"
    given += f" --backbone {tiny_backbone} --output {tmp_path}"
    terminal = in_a_terminal(given)
    terminal.expect("round 2: loss")
    workers = psutil.Process(terminal.pid).children(recursive=True)
    assert any("ray" in process.name() for process in workers)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130 and "Traceback" not in terminal.before.partition("^C")[2]
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupting_a_notebook_ends_the_federation(tiny_backbone):
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    try:
        code = f"""
import fedprompt_helpers as fp, psutil
config = fp.RunConfig(languages=("en", "cy"), rounds=400, patience=None, backbone={tiny_backbone!r})
fp.simulate(config, lambda entry: print("round", entry["round"], flush=True))
"""
        client.execute(code)
        while True:
            message = client.get_iopub_msg(timeout=120)
            assert message["msg_type"] != "error", message["content"]
            if "round 1" in message["content"].get("text", ""):
                break
        manager.interrupt_kernel()
        began = time.monotonic()
        while message["msg_type"] != "error":
            message = client.get_iopub_msg(timeout=60)
        assert message["content"]["ename"] == "KeyboardInterrupt" and time.monotonic() - began < 15
        kernel = psutil.Process(manager.provisioner.process.pid)
        assert not psutil.wait_procs(kernel.children(recursive=True), timeout=10)[1]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(fp.FedPromptError, match="choose another folder with --output"):
        fp.run(fp.RunConfig(**SMALL), tmp_path / "file" / "runs")


def test_records_never_share_a_name():
    made = [fp.RunConfig(rounds=r, seed=s, method=m) for r in (1, 2) for s in (0, 1) for m in ("p-tuning", "head")]
    assert len({config.name() for config in made}) == 8
    assert json.loads(json.dumps(made[0].to_dict())) == made[0].to_dict()
