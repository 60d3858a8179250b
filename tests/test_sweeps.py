"""Sweeps, tables and figures: a small real sweep from file to figure, and the statistics by hand."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fedprompt_helpers import gains, results, sweeps
from fedprompt_helpers.claims import claims_table
from fedprompt_helpers.cli import app
from fedprompt_helpers.distance import language_distance
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.experiments import load_record
from fedprompt_helpers.figures import plot_sweep
from fedprompt_helpers.results_page import write_page
from fedprompt_helpers.verification import draw, setting_interval

SWEEP = """
question = "Does the command work?"
baseline = "alone"
target = 0.01
seeds = [0, 1]
[common]
languages = ["en", "cy"]
train_size = 12
dev_size = 8
rounds = 1
local_epochs = 1
[[block]]
label = "alone"
setting = "local"
choose = { learning_rate = [1e-4, 3e-3] }
[[block]]
label = "together"
like = "alone"
grid = { local_epochs = [1, 2] }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """A folder with a sweep file and its records, run by the command."""
    folder = tmp_path_factory.mktemp("sweep")
    done = CliRunner().invoke(app, ["sweep", str(write(folder, SWEEP)), "--results", str(folder / "records")])
    assert done.exit_code == 0, done.output
    return folder


def records(folder: Path) -> dict[str, dict]:
    return {path.name: load_record(path) for path in (folder / "records").glob("*.json")}


def test_a_sweep_runs_each_configuration_once(swept):
    found = records(swept).values()
    # Two candidates with the first seed, the chosen one with the second; two settings with both seeds.
    assert len(found) == 3 + 4
    local = [record for record in found if record["config"]["setting"] == "local"]
    dev = {
        record["config"]["learning_rate"]: sweeps.dev_accuracy(record)
        for record in local
        if record["config"]["seed"] == 0
    }
    best = max(dev, key=dev.get)
    assert {record["config"]["learning_rate"] for record in local if record["config"]["seed"] == 1} == {best}
    assert {record["config"]["learning_rate"] for record in found if record["config"]["setting"] == "federated"} == {
        best
    }


def test_a_second_call_runs_nothing_and_a_lost_record_is_run_again(swept, tmp_path):
    sweep, before = sweeps.read_sweep(swept / "small.toml"), {}
    shutil.copytree(swept / "records", tmp_path / "records")
    assert sweeps.missing(sweep, tmp_path / "records") == 0
    for path in (tmp_path / "records").iterdir():
        before[path.name] = path.stat().st_mtime_ns
    lost = next(path for path in (tmp_path / "records").glob("*-local-seed1-*"))
    lost.unlink()
    assert sweeps.missing(sweep, tmp_path / "records") == 1
    sweeps.run_sweep(sweep, tmp_path / "records")
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    assert set(after) == set(before)
    assert [name for name in after if after[name] != before[name]] == [lost.name]


def test_the_table_says_what_the_records_say(swept):
    sweep = sweeps.read_sweep(swept / "small.toml")
    content = results.table(sweep, swept / "records").set_index("label")
    assert content.index[0] == "majority class"
    assert len(content.loc[["together"]]) == 2
    chosen = content.loc["alone", "chosen"].removeprefix("learning_rate ")
    mine = [
        np.mean([scores["accuracy"] for scores in record["test"].values()])
        for record in records(swept).values()
        if record["config"]["setting"] == "local" and f"{record['config']['learning_rate']:g}" == chosen
    ]
    assert len(mine) == 2
    assert content.loc["alone", "accuracy"] == pytest.approx(np.mean(mine))
    together = content.loc[["together"]]
    assert together["gain"].to_numpy() == pytest.approx(
        together["accuracy"].to_numpy() - content.loc["alone", "accuracy"]
    )
    assert together["update_bytes"].between(1.0e6, 1.2e6).all()
    assert (together["megabytes_to_target"] > 0).all()


def test_tables_and_figures_are_written_and_the_same_again(swept, tmp_path):
    for command in ("tables", "figures"):
        for turn in ("a", "b"):
            arguments = [command, str(swept / "small.toml"), "--results", str(swept / "records")]
            done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / command / turn)])
            assert done.exit_code == 0, done.output
        first, second = ((tmp_path / command / turn).iterdir() for turn in ("a", "b"))
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second] != []


def test_rows_of_a_figure_and_of_the_page_say_which_point_of_the_grid_they_are(swept, tmp_path):
    sweep = sweeps.read_sweep(swept / "small.toml")
    ax = plot_sweep(sweep, swept / "records")
    names = [label.get_text() for label in ax.get_yticklabels()]
    plt.close(ax.figure)
    assert names == ["alone", "together (local epochs 1)", "together (local epochs 2)"]
    page = write_page(tmp_path / "page.md", [sweep], swept / "records").read_text("utf-8")
    assert [line.count("|") for line in page.splitlines() if line.startswith("| together | 2 |")] == [12, 5]
    assert "## Does the command work?" in page and "Baseline of the gains: alone" in page


def test_a_record_is_verified_by_running_it_again(swept):
    done = CliRunner().invoke(app, ["verify-results", "--results", str(swept / "records")])
    assert done.exit_code == 0, done.output
    assert "inside" in done.output


def test_only_settings_with_several_seeds_are_drawn(swept):
    drawn = {draw(swept / "records", seed=seed) for seed in range(40)}
    # The learning rate that was tried with the first seed and not chosen has no other seed.
    configs = [record["config"] for record in records(swept).values()]
    single = [c for c in configs if [d | {"seed": 0} for d in configs].count(c | {"seed": 0}) == 1]
    assert len(single) == 1
    assert all(load_record(path)["config"] not in single for path in drawn)
    assert len(drawn) > 1


def test_a_record_that_lies_is_found_out(swept, tmp_path):
    path = next((swept / "records").glob("*-local-seed0-*.json"))
    text = path.read_text(encoding="utf-8")
    record = load_record(path)
    for scores in record["test"].values():
        text = text.replace(f'"accuracy": {scores["accuracy"]}', '"accuracy": 0.99')
    (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["verify-results", str(tmp_path / path.name)])
    assert done.exit_code == 1
    assert "OUTSIDE" in done.output


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rounds = 1", "round = 1"), "round"),
        (('label = "together"', 'label = "alone"'), "same label"),
        (("learning_rate = [1e-4, 3e-3] }", "lerning_rate = [1e-4] }"), "learning_rate"),
        (('like = "alone"', 'like = "alon"'), "nearest: alone"),
        (('baseline = "alone"', 'baseline = "nobody"'), "baseline"),
        (("[[block]]", "[[blocks]]"), "block"),
        (('["en", "cy"]', '["en", "en"]'), "given twice"),
    ],
)
def test_a_fault_in_a_sweep_file_is_named(tmp_path, change, says):
    with pytest.raises(FedPromptError, match=says):
        sweeps.missing(sweeps.read_sweep(write(tmp_path, SWEEP.replace(*change))), tmp_path)


CLAIM = """
[[claim]]
claim = "Together is better than alone."
paper = "6.9 points (the paper's figure)"
verdict = "holds partly"
reason = "One small run."
measure = [{ what = "alone", sweep = "small", row = "alone", column = "accuracy", scale = 100, unit = "points" }]
"""


def test_a_claim_stands_beside_what_was_measured(swept, tmp_path):
    sweep = sweeps.read_sweep(swept / "small.toml")
    (tmp_path / "claims.toml").write_text(CLAIM, encoding="utf-8")
    [row] = claims_table(tmp_path / "claims.toml", [sweep], swept / "records").to_dict("records")
    alone = results.table(sweep, swept / "records").set_index("label").loc["alone"]
    assert row["ours"] == f"alone: {100 * alone['accuracy']:.1f} ± {100 * alone['interval']:.1f} points"
    assert row["verdict"] == "holds partly"


def test_a_claim_can_be_measured_by_counting(swept, tmp_path):
    counted = '{ what = "trained", count = "trainable_head_twice", backbone = "FacebookAI/xlm-roberta-base", '
    counted += 'method = "prompt-tuning", num_labels = 10, virtual_tokens = 8, unit = "parameters" }'
    start = CLAIM.index("[{")
    (tmp_path / "claims.toml").write_text(f"{CLAIM[:start]}[{counted}]", encoding="utf-8")
    sweep = sweeps.read_sweep(swept / "small.toml")
    [row] = claims_table(tmp_path / "claims.toml", [sweep], swept / "records").to_dict("records")
    assert row["ours"] == "trained: 1,202,708 parameters"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("holds partly", "is fine"), "verdict"),
        (('column = "accuracy"', 'column = "accuracy", at = { rounds = 999 }'), "fits 0 rows|grid field"),
        (('row = "alone"', 'row = "nobody"'), "row"),
        (('sweep = "small"', 'sweep = "smal"'), "available: small"),
        (('reason = "One small run."', ""), "no reason"),
    ],
)
def test_a_fault_in_the_claims_is_named(swept, tmp_path, change, says):
    (tmp_path / "claims.toml").write_text(CLAIM.replace(*change), encoding="utf-8")
    with pytest.raises(FedPromptError, match=says):
        claims_table(tmp_path / "claims.toml", [sweeps.read_sweep(swept / "small.toml")], swept / "records")


def test_no_record_no_table(tmp_path):
    with pytest.raises(FedPromptError, match="fedprompt sweep"):
        results.table(sweeps.read_sweep(write(tmp_path, SWEEP)), tmp_path)


def test_the_interval_of_three_values_by_hand():
    # Mean 2, standard deviation 1, t(0.975, 2 degrees of freedom) = 4.302653.
    assert results.half_interval([1, 2, 3]) == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert np.isnan(results.half_interval([1.0]))


def test_the_sign_flip_test_by_hand():
    # All of three differences positive: of the 8 patterns of signs only two give a sum as far from zero.
    assert results.sign_flip(np.array([0.1, 0.2, 0.3])) == pytest.approx(2 / 8)
    assert results.sign_flip(np.array([0.1, -0.1])) == 1.0
    assert results.sign_flip(np.full(15, 0.05)) == 2 / 2**15
    assert 0 < results.sign_flip(np.full(24, 0.05)) < 0.001


def test_the_own_interval_by_hand():
    record = {"config": {"languages": ["a"]}, "test": {"a": {"accuracy": 0.8, "examples": 400}}}
    low, high = results.own_interval(record)
    assert (high - low) / 2 == pytest.approx(1.959964 * 0.02, rel=1e-6)
    assert (low + high) / 2 == pytest.approx(0.8)


def test_the_interval_of_a_setting_by_hand(tmp_path):
    for seed, accuracy in enumerate((0.6, 0.7, 0.8)):
        record = {"format": 1, "config": {"languages": ["a"], "seed": seed}, "mean_test": {"accuracy": accuracy}}
        record["test"] = {"a": {"accuracy": accuracy, "examples": 10**9}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(record))
    low, high = setting_interval(tmp_path / "1.json")
    assert (low + high) / 2 == pytest.approx(0.7)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 * np.sqrt(4 / 3), rel=1e-5)
    (tmp_path / "0.json").unlink()
    (tmp_path / "2.json").unlink()
    assert setting_interval(tmp_path / "1.json") == pytest.approx((0.7, 0.7), abs=1e-4)


def test_gains_are_paired_by_seed_and_language(swept, tmp_path):
    text = SWEEP.replace('"alone"', '"local"').replace('"together"', '"federated by language"')
    sweep = sweeps.read_sweep(write(tmp_path, text))
    table = gains.gains_table([sweep], swept / "records").set_index("language")
    assert list(table.index) == ["en", "cy"]
    assert table["distance"].iloc[0] == pytest.approx(language_distance("en", "cy"))
    frame = results.scores(sweep, swept / "records")
    mine = frame[(frame["language"] == "cy") & (frame["label"] != "local")]["accuracy"].mean()
    alone = frame[(frame["language"] == "cy") & (frame["label"] == "local")]["accuracy"].mean()
    assert table.loc["cy", "gain"] == pytest.approx(mine - alone)
    assert table.loc["cy", "local"] == pytest.approx(alone)


def test_a_correlation_and_its_interval():
    rows = [
        {"sweep": "s", "language": language, "train_size": size, "distance": i / 10, "gain": -i - k / 9}
        for i, language in enumerate("abcdef")
        for k, size in enumerate((8, 16, "all"))
    ]
    found = gains.correlations(pd.DataFrame(rows)).set_index("quantity")
    assert found.loc["distance", "correlation"] < -0.95
    assert found.loc["distance", "high"] < -0.7
    assert found.loc["train_size", "low"] < found.loc["train_size", "correlation"] < 0


BOOK = Path(__file__).resolve().parent.parent / "book" / "results"
GAINS = ("gains", "gains_correlations")


TABLES = [path for path in sorted((BOOK / "tables").glob("*.csv")) if path.stem not in ("claims", *GAINS)]


def test_a_target_that_one_seed_never_reached_has_no_mean():
    content = results.table(sweeps.read_sweep(BOOK / "sweeps" / "bill.toml"), BOOK / "records").set_index("label")
    assert content.loc["LoRA", "rounds_to_target"] == 2
    # Two of three seeds got there; a mean of those two would hide the third.
    assert content.loc["head alone", ["rounds_to_target", "megabytes_to_target"]].isna().all()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_of_the_book_is_what_its_records_give(path, tmp_path):
    sweep = sweeps.read_sweep(BOOK / "sweeps" / f"{path.stem}.toml")
    [made] = results.write_tables([sweep], BOOK / "records", tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(made), pd.read_csv(path), rtol=1e-5)


def test_the_gains_and_claims_of_the_book_are_what_its_records_give(tmp_path):
    arguments = ["tables", "--output", str(tmp_path), "--page", str(tmp_path / "page.md")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.md").read_text("utf-8") == (BOOK.parent / "all_results.md").read_text("utf-8")
    for path in (BOOK / "tables").glob("*.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / path.name), pd.read_csv(path), rtol=1e-5)
    assert {path.name for path in tmp_path.glob("*.csv")} == {path.name for path in (BOOK / "tables").glob("*.csv")}
