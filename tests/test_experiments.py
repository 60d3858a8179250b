"""The command: records, tables, plots, and one clear line for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedprompt_helpers import experiments
from fedprompt_helpers.cli import main
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--languages en,cy --train-size 16 --rounds 2 --local-epochs 1"


def fedprompt(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "fedprompt_helpers", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    result = fedprompt("run", *SMALL.split(), "--output", str(folder))
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.json")
    return path, result


def test_run_writes_one_whole_record(record):
    path, _ = record
    content = experiments.load_record(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert content["config"]["seed"] == 0
    assert RunConfig.from_dict(content["config"]).to_dict() == content["config"]
    assert len(content["rounds"]) == 2
    assert set(content["test"]) == {"en", "cy"}
    assert content["message_parameters"] == content["parameters"]["trainable"]
    assert content["versions"]["flwr"]
    assert content["seconds"] > 0
    assert content["backbone_digest"]["before"] == content["backbone_digest"]["after"]


def test_run_shows_progress_and_table(record):
    _, result = record
    for word in ("round 2", "loss", "dev accuracy en", "MB sent"):
        assert word in result.stderr
    for word in ("language", "majority", "macro-F1", "bytes an update", "bit-identical before and after: yes"):
        assert word in result.stdout
    assert "Warning" not in result.stderr


def test_show_prints_the_table_and_saves_the_plot(record, tmp_path):
    path, ran = record
    result = fedprompt("show", str(path), "--plot", str(tmp_path / "plot.png"))
    assert result.returncode == 0
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    table = [line for line in ran.stdout.splitlines() if line.startswith("cy ")]
    assert table[0] in result.stdout


def test_a_recorded_configuration_is_not_run_twice(record):
    path, _ = record
    before = path.stat().st_mtime_ns
    result = fedprompt("run", *SMALL.split(), "--output", str(path.parent))
    assert result.returncode == 0
    assert "has its record already" in result.stdout
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("setting", ["local", "centralised"])
def test_local_and_centralised_training_give_records(setting, tmp_path):
    config = RunConfig(
        languages=("en", "cy"), train_size=16, rounds=2, local_epochs=1, setting=setting, method="prompt-tuning"
    )
    entries = []
    content = experiments.load_record(experiments.run(config, tmp_path, on_progress=entries.append))
    assert set(content["test"]) == {"en", "cy"}
    assert len(entries) == (4 if setting == "local" else 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run --languages en,cyy", "nearest: cy"),
        ("run --languages en,welsh", "available: "),
        ("run --languages en,en", "given twice"),
        ("run --languages ,", "name at least one"),
        ("run --task intent", "nearest: intents"),
        ("run --method p_tuning", "nearest: p-tuning"),
        ("run --rounds 0", "rounds is 0"),
        ("run --rounds -3", "rounds is -3"),
        ("run --local-epochs 0", "local_epochs is 0"),
        ("run --learning-rate 0", "learning_rate is 0.0"),
        ("run --batch-size 0", "batch_size is 0"),
        ("run --partition dirichlet-label --alpha 0", "alpha (--alpha) is 0.0"),
        ("run --partition dirichlet-label", "alpha (--alpha) is left out"),
        ("run --alpha 1", "leave alpha out"),
        ("run --clients 9", "9 clients for 5 languages"),
        ("run --backbone ./nowhere", "a config.json was expected"),
        ("run --rounds many", "Invalid value"),
        ("show nowhere.json", "no run record at nowhere.json"),
        ("show pyproject.toml", "is not a run record"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_two(arguments, expected, tmp_path, monkeypatch, capsys):
    output = ["--output", str(tmp_path / "runs")] if arguments.startswith("run") else []
    monkeypatch.setattr(sys, "argv", ["fedprompt", *arguments.split(), *output])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert expected in said
    assert "Traceback" not in said
    if "Invalid value" not in expected:
        assert len(said.strip().split("\r")[-1].splitlines()) == 1  # what stands before a return is wiped
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_mistake_on_the_real_command_line(tmp_path):
    result = fedprompt("run", "--languages", "en,cyy", "--output", str(tmp_path))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert result.stderr.startswith("fedprompt: error: unknown language 'cyy'; nearest: cy")


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = fedprompt("run", *SMALL.split(), "--output", str(tmp_path / "file" / "runs"))
    assert result.returncode == 2
    assert "choose another folder with --output" in result.stderr


def test_records_are_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        experiments.write_json(tmp_path / "x.json", {"bad": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_a_newer_version_is_refused(record, tmp_path):
    content = json.loads(record[0].read_text()) | {"format": 99}
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(FedPromptError, match="newer"):
        experiments.load_record(tmp_path / "x.json")


def test_two_configurations_never_share_a_record_name():
    names = {
        experiments.record_name(RunConfig(rounds=r, seed=s, method=m))
        for r in (1, 2)
        for s in (0, 1)
        for m in ("p-tuning", "head")
    }
    assert len(names) == 8


def test_the_name_of_a_record_stays():
    """Committed records are found by the name of their configuration; a new field must not rename them."""
    for path in (ROOT / "book" / "results" / "records").glob("*.json"):
        record = experiments.load_record(path)
        assert experiments.record_name(RunConfig.from_dict(record["config"])) == path.stem == record["name"]


def test_a_record_of_other_data_is_not_taken_for_this_one(tmp_path):
    rows = ["text\tlabel"] + [f"{word} {i}\t{label}" for i in range(9) for word, label in (("sun", "a"), ("rain", "b"))]
    for split in ("train", "dev", "test"):
        for language in ("xx", "yy"):
            (tmp_path / "data" / language).mkdir(parents=True, exist_ok=True)
            lines = [rows[0], *(f"{split} {row}" for row in rows[1:])]
            (tmp_path / "data" / language / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    given = ["run", "--task", "tsv", "--languages", "xx,yy", "--setting", "centralised", "--rounds", "1"]
    given += ["--output", str(tmp_path / "runs")]
    first = fedprompt(*given, FEDPROMPT_DATA=str(tmp_path / "data"))
    assert first.returncode == 0, first.stderr
    again = fedprompt(*given, FEDPROMPT_DATA=str(tmp_path / "data"))
    assert "has its record already" in again.stdout
    with (tmp_path / "data" / "yy" / "test.tsv").open("a") as file:
        file.write("train sun 1\ta\n")
    changed = fedprompt(*given, FEDPROMPT_DATA=str(tmp_path / "data"))
    assert changed.returncode == 2
    assert "its data were others" in changed.stderr
    anew = fedprompt(*given, "--again", FEDPROMPT_DATA=str(tmp_path / "data"))
    assert anew.returncode == 0
    assert "note: yy: 1 of 19 test texts are in train too" in anew.stderr
