"""The file of all run records, and the tidy tables made of it."""

import json
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from book.research.__main__ import app
from book.research.store import Store, dev_accuracy, open_store
from book.research.sweeps import read_sweep, recorded
from book.research.tidy import FIRST, rounds_table, scores_table
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import bytes_so_far

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book/results/records.jsonl"


def made(seed: int = 0, **values) -> dict:
    """A record with little in it."""
    config = RunConfig(languages=("en", "cy"), seed=seed, **values)
    test = {name: {"accuracy": 0.5, "macro_f1": 0.4, "examples": 10} for name in ("en", "cy")}
    record = {"format": 1, "name": config.name(), "config": config.to_dict(), "test": test, "seconds": 1.5}
    return record | {"majority": {"en": 0.2, "cy": 0.3}, "mean_test": {"accuracy": 0.5}}


def test_a_record_is_found_by_its_whole_configuration_and_nothing_else(tmp_path):
    store = Store(tmp_path / "records.jsonl")
    assert len(store) == 0 and store.get(RunConfig()) is None
    records = [made(seed) | {"name": "one name"} for seed in (0, 1)]
    assert store.add(*records) == 2 and store.add(records[0]) == 0
    again = Store(store.path)
    assert [again.get(RunConfig(languages=("en", "cy"), seed=seed)) for seed in (0, 1)] == records
    assert again.get(RunConfig(languages=("en", "cy"), seed=0, min_share=0.6)) is None


def test_a_record_of_fewer_fields_is_that_of_their_defaults(tmp_path):
    record = made()
    for name in ("device", "distance_scale", "unseen"):
        del record["config"][name]
    (tmp_path / "old.jsonl").write_text(json.dumps(record) + "\n", "utf-8-sig")
    assert Store(tmp_path / "old.jsonl").get(RunConfig(languages=("en", "cy"))) == record


def test_the_file_is_sorted_by_name_and_one_compact_line_a_record(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    for name in ("b", "c", "a"):
        Store(path).add(made(ord(name)) | {"name": name, "notes": ["line separator: \u2028"]})
    lines = path.read_text("utf-8").split("\n")
    assert [json.loads(line)["name"] for line in lines[:-1]] == ["a", "b", "c"] and lines[-1] == ""
    assert [record["name"] for record in Store(path)] == ["a", "b", "c"]
    assert {each.name for each in path.parent.iterdir()} == {"records.jsonl", ".records.jsonl.lock"}


def add_one(store: Store, seed: int) -> None:
    """Add a record to what this process read before."""
    store.add(made(seed))


@pytest.mark.slow
def test_what_another_process_adds_is_not_lost(tmp_path):
    path = tmp_path / "records.jsonl"
    store = Store(path)
    processes = [get_context("spawn").Process(target=add_one, args=(store, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    store.add(made(3))
    assert len(Store(path)) == 4


def test_a_file_that_has_changed_is_read_anew_and_else_once(tmp_path):
    path = tmp_path / "records.jsonl"
    Store(path).add(made(0))
    first = open_store(path)
    assert open_store(str(path)) is first and open_store(first) is first
    Store(path).add(made(1))
    assert len(open_store(path)) == 2


GOOD = json.dumps(made())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "\n{'a': 1}\n", r"records.jsonl, line 2 is not a run record: key must be a string"),
        (GOOD + "\n\n" + GOOD[:200], r"line 3 is not a run record: .*take the line out"),
        ("[1]\n", r"line 1 is not a run record: it has no format"),
        ("{}\n", r"line 1 is not a run record: it has no format"),
        (json.dumps(made() | {"format": 99}), r"line 1 has format 99, newer than"),
        (GOOD.replace('"test"', '"tset"'), r"line 1 is not a run record: it has no test"),
        (GOOD.replace('"rounds"', '"turns"'), r"line 1: the configuration has an unknown field 'turns'"),
        (GOOD.replace('"p-tuning"', '"q-tuning"'), r"line 1: unknown method 'q-tuning'"),
        (GOOD + "\n" + GOOD.replace("1.5", "2.5"), r"line 2 and line 1 are different records of one configuration"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, text, says):
    (tmp_path / "records.jsonl").write_text(text, "utf-8")
    with pytest.raises(FedPromptError, match=says) as told:
        Store(tmp_path / "records.jsonl")
    assert "\n" not in str(told.value)


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes("é".encode("latin-1"))
    for path in (tmp_path, tmp_path / "latin.jsonl"):
        with pytest.raises(FedPromptError, match=r"cannot read .*expected a file of run records"):
            Store(path)


def test_records_of_single_runs_are_collected(tmp_path):
    for seed in (0, 1):
        (tmp_path / f"{seed}.json").write_text(json.dumps(made(seed)), "utf-8")
    for said in ("2 records added, 0 were there, 2 in all", "0 records added, 2 were there, 2 in all"):
        done = CliRunner().invoke(app, ["collect", str(tmp_path), "--records", str(tmp_path / "all.jsonl")])
        assert done.exit_code == 0 and said in done.output


def test_every_record_of_the_book_is_found_by_its_configuration():
    store = Store(BOOK)
    assert len(store) >= 188
    assert all(store.get(RunConfig.from_dict(record["config"])) is record for record in store)
    assert [record["name"] for record in store] == sorted(record["name"] for record in store)


def test_scores_are_tidy():
    table, store = scores_table(BOOK), Store(BOOK)
    assert tuple(table)[: len(FIRST) + 1] == ("name", *FIRST)
    assert len(table) == sum(len(record["test"]) for record in store)
    assert not table.duplicated(["name", "language"]).any()
    for record in list(store)[::20]:
        rows = table[table["name"] == record["name"]].set_index("language")
        assert rows["accuracy"].to_dict() == {x: test["accuracy"] for x, test in record["test"].items()}
        assert rows["dev_accuracy"].to_numpy() == pytest.approx(dev_accuracy(record), nan_ok=True)
        assert set(rows["learning_rate"]) == {record["config"]["learning_rate"]}
        assert set(rows["languages"]) == {" ".join(record["config"]["languages"])}
        if "rounds" in record:
            assert set(rows["megabytes"]) == {bytes_so_far(record)[-1] / 1e6}


def test_rounds_are_tidy():
    table, scores = rounds_table(BOOK), scores_table(BOOK).drop_duplicates("name").set_index("name")
    assert not table.duplicated(["name", "number", "language"]).any()
    kept = table[table["kept"]].groupby("name")["dev_accuracy"].mean()
    pd.testing.assert_series_equal(kept.sort_index(), scores["dev_accuracy"].dropna().sort_index())  # no round: none
    sent = table.drop_duplicates(["name", "number"]).groupby("name")["bytes"].sum() / 1e6
    started = scores[(scores["setting"] == "federated") & (scores["head_start"] == "random")]
    assert len(started) > 100
    assert (sent[started.index].astype(float) - started["megabytes"]).abs().max() < 1e-6
    assert table.loc[table["step"] == "epoch", "bytes"].isna().all()


@pytest.mark.slow
def test_a_results_table_imports_neither_pytorch_nor_scipy():
    code = "import sys; from book.research.__main__ import app; app(sys.argv[1:], standalone_mode=False); "
    code += "print([name for name in ('torch', 'scipy', 'flwr', 'matplotlib', 'datasets') if name in sys.modules])"
    command = [sys.executable, "-c", code, "table", "book/results/sweeps/bill.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "majority class" in done.stdout and "LoRA" in done.stdout


@pytest.mark.slow
def test_a_missing_sweep_is_one_line(tmp_path):
    command = [sys.executable, "-m", "book.research", "table", str(tmp_path / "none.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cannot read the sweep" in done.stderr


def test_a_reader_gives_the_record_of_a_configuration():
    sweep = read_sweep(ROOT / "book/results/sweeps/xnli.toml")
    record = next(record for record in Store(BOOK) if record["config"]["task"] == "xnli")
    assert recorded(BOOK)(RunConfig.from_dict(record["config"])) == record
    assert sweep.path.stem == "xnli"
