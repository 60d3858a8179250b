"""Sweeps, tables and figures: a small real sweep from file to figure, and the statistics by hand and by SciPy."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from book.research import gains, results, running, sweeps
from book.research.__main__ import app
from book.research.claims import claims_table
from book.research.figures import plot_sweep
from book.research.results_page import write_page
from book.research.store import Store, dev_accuracy
from book.research.verification import draw, record_digest_matches, setting_interval
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.distance import language_distance
from fedprompt_helpers.errors import FedPromptError

slow = pytest.mark.slow

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
choose = { learning_rate = [1e-4, 3e-2] }
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
def swept(tmp_path_factory, tiny_backbone) -> Path:
    """A folder with a sweep file and its records, run by the command."""
    folder = tmp_path_factory.mktemp("sweep")
    file = write(folder, SWEEP.replace("[common]", f'[common]\nbackbone = "{tiny_backbone}"'))
    done = CliRunner().invoke(app, ["sweep", str(file), "--records", str(folder / "records.jsonl")])
    assert done.exit_code == 0, done.output
    return folder


def records(folder: Path) -> list[dict]:
    return list(Store(folder / "records.jsonl"))


@slow
def test_a_sweep_runs_each_configuration_once(swept):
    found = records(swept)
    # Two candidates with the first seed, the chosen one with the second; two settings with both seeds.
    assert len(found) == 3 + 4
    local = [record for record in found if record["config"]["setting"] == "local"]
    dev = {record["config"]["learning_rate"]: dev_accuracy(record) for record in local if record["config"]["seed"] == 0}
    best = max(dev, key=dev.get)
    assert {record["config"]["learning_rate"] for record in local if record["config"]["seed"] == 1} == {best}
    assert {record["config"]["learning_rate"] for record in found if record["config"]["setting"] == "federated"} == {
        best
    }
    assert not (swept / "unfinished").exists()


@slow
def test_a_second_call_runs_nothing_and_a_lost_record_is_run_again(swept, tmp_path, monkeypatch):
    sweep, path = sweeps.read_sweep(swept / "small.toml"), tmp_path / "records.jsonl"
    shutil.copy(swept / "records.jsonl", path)
    assert sweeps.missing(sweep, path) == 0
    lost = next(line for line in path.read_text("utf-8").splitlines() if "-local-seed1-" in line)
    path.write_text(path.read_text("utf-8").replace(lost + "\n", ""), "utf-8")
    assert sweeps.missing(sweep, path) == 1
    ran, told = [], lambda config, finished: ran.append((config, finished))
    running.run_sweep(sweep, path, on_run=told)
    config = RunConfig.from_dict(json.loads(lost)["config"])
    assert ran == [(config, False), (config, True)]
    assert Store(path).get(config)["test"] == json.loads(lost)["test"]
    running.run_sweep(sweep, path, on_run=told)
    assert len(ran) == 2


@slow
def test_the_table_says_what_the_records_say(swept):
    sweep = sweeps.read_sweep(swept / "small.toml")
    content = results.table(sweep, swept / "records.jsonl").set_index("label")
    assert content.index[0] == "majority class"
    assert len(content.loc[["together"]]) == 2
    chosen = content.loc["alone", "chosen"].removeprefix("learning_rate ")
    mine = [
        np.mean([scores["accuracy"] for scores in record["test"].values()])
        for record in records(swept)
        if record["config"]["setting"] == "local" and f"{record['config']['learning_rate']:g}" == chosen
    ]
    assert len(mine) == 2
    assert content.loc["alone", "accuracy"] == pytest.approx(np.mean(mine))
    together = content.loc[["together"]]
    assert together["gain"].to_numpy() == pytest.approx(
        together["accuracy"].to_numpy() - content.loc["alone", "accuracy"]
    )
    trained = 4 * next(r["message_parameters"] for r in records(swept) if r["config"]["setting"] == "federated")
    assert together["update_bytes"].between(trained, trained + 16_000).all()
    assert (together["megabytes_to_target"] > 0).all()


@slow
def test_tables_and_figures_are_written_and_the_same_again(swept, tmp_path):
    for command in ("tables", "figures"):
        for turn in ("a", "b"):
            arguments = [command, str(swept / "small.toml"), "--records", str(swept / "records.jsonl")]
            done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / command / turn)])
            assert done.exit_code == 0, done.output
        first, second = ((tmp_path / command / turn).iterdir() for turn in ("a", "b"))
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second] != []


@slow
def test_rows_of_a_figure_and_of_the_page_say_which_point_of_the_grid_they_are(swept, tmp_path):
    sweep = sweeps.read_sweep(swept / "small.toml")
    ax = plot_sweep(sweep, swept / "records.jsonl")
    names = [label.get_text() for label in ax.get_yticklabels()]
    plt.close(ax.figure)
    assert names == ["alone", "together (local epochs 1)", "together (local epochs 2)"]
    page = write_page(tmp_path / "page.md", [sweep], swept / "records.jsonl").read_text("utf-8")
    assert [line.count("|") for line in page.splitlines() if line.startswith("| together | 2 |")] == [11, 5]
    assert "## Does the command work?" in page and "Baseline of the gains: alone" in page


@slow
def test_a_record_is_verified_by_running_it_again(swept):
    done = CliRunner().invoke(app, ["verify", "--records", str(swept / "records.jsonl")])
    assert done.exit_code == 0, done.output
    assert "the same data" in done.output and "inside" in done.output


@slow
def test_only_settings_with_several_seeds_are_drawn(swept):
    drawn = [draw(swept / "records.jsonl", seed=seed)["config"] for seed in range(40)]
    # The learning rate that was tried with the first seed and not chosen has no other seed.
    configs = [record["config"] for record in records(swept)]
    single = [c for c in configs if [d | {"seed": 0} for d in configs].count(c | {"seed": 0}) == 1]
    assert len(single) == 1
    assert all(config not in single for config in drawn)
    assert len({RunConfig.from_dict(config) for config in drawn}) > 1


def test_a_record_of_other_data_is_not_drawn_again():
    first = draw(BOOK / "records.jsonl", task="intents")["name"]
    second = draw(BOOK / "records.jsonl", task="intents", without=[first])["name"]
    assert first != second
    everything = [record["name"] for record in Store(BOOK / "records.jsonl")]
    with pytest.raises(FedPromptError, match="several seeds and whose data are the same here"):
        draw(BOOK / "records.jsonl", without=everything)


def lying(swept: Path) -> dict:
    record = next(record for record in records(swept) if "-local-seed0-" in record["name"])
    record = json.loads(json.dumps(record))
    for scores in [*record["test"].values(), record["mean_test"]]:
        scores["accuracy"] = 0.99
    return record


@slow
def test_a_record_that_lies_is_found_out(swept, tmp_path):
    (tmp_path / "lie.json").write_text(json.dumps(lying(swept)), encoding="utf-8")
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "lie.json"), "--records", str(tmp_path / "none.jsonl")])
    assert done.exit_code == 1
    assert "OUTSIDE" in done.output


@slow
@pytest.mark.parametrize("joint", [False, True])
def test_other_data_are_told_before_anything_is_run(swept, tmp_path, joint):
    record = lying(swept)
    digest = record["data_digest"]
    record["data_digest"] = "0" * 32 if joint else digest | {"cy": digest["en"]}
    (tmp_path / "other.json").write_text(json.dumps(record), encoding="utf-8")
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "other.json")])
    assert done.exit_code == 1
    assert "other data than the record's" in done.output and "recorded" not in done.output


def test_a_record_of_the_book_without_a_digest_says_nothing_of_its_data():
    store = Store(BOOK / "records.jsonl")
    assert record_digest_matches(next(record for record in store if "data_digest" not in record)) is None


@slow
def test_the_joint_digest_of_an_old_record_is_that_of_all_its_languages():
    store = Store(BOOK / "records.jsonl")
    found = next(record for record in store if record["config"]["task"] == "intents" and "data_digest" in record)
    assert record_digest_matches(found) is True


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rounds = 1", "round = 1"), "round"),
        (('label = "together"', 'label = "alone"'), "same label"),
        (("learning_rate = [1e-4, 3e-2] }", "lerning_rate = [1e-4] }"), "learning_rate"),
        (('like = "alone"', 'like = "alon"'), "nearest: alone"),
        (('baseline = "alone"', 'baseline = "nobody"'), "baseline"),
        (("[[block]]", "[[blocks]]"), "block"),
        (('["en", "cy"]', '["en", "en"]'), "given twice"),
        (("seeds = [0, 1]", "seeds = 1"), "seeds is 1; expected a list"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "different whole numbers"),
        (("seeds = [0, 1]", "seeds = [0, -1]"), "seed"),
        (("target = 0.01", 'target = "0.01"'), "expected a number"),
        (("local_epochs = [1, 2] }", "local_epochs = 2 }"), "lists of values"),
        (("local_epochs = [1, 2] }", "local_epochs = [1, 0] }"), "local_epochs"),
        (("choose = { learning_rate = [1e-4, 3e-2] }", ""), "chooses nothing"),
        (("learning_rate = [1e-4, 3e-2]", 'learning_rate = [1e-4, "a"]'), "block 'alone': learning_rate"),
    ],
)
def test_a_fault_in_a_sweep_file_is_named(tmp_path, change, says):
    with pytest.raises(FedPromptError, match=says):
        list(sweeps.everything(sweeps.read_sweep(write(tmp_path, SWEEP.replace(*change)))))


@slow
@pytest.mark.parametrize("change", [("local_epochs = [1, 2]", "local_epochs = [1, 0]"), ('"en", "cy"', '"en", "xx"')])
def test_a_mistake_in_the_last_block_of_the_last_file_is_told_before_the_first_run(tmp_path, change):
    (tmp_path / "b").mkdir()
    files = [write(tmp_path, SWEEP), write(tmp_path / "b", SWEEP.replace(*change))]
    done = CliRunner().invoke(app, ["sweep", *map(str, files), "--records", str(tmp_path / "records.jsonl")])
    assert isinstance(done.exception, FedPromptError) and "small.toml" in str(done.exception)
    assert "runs without a record" not in done.output
    assert not (tmp_path / "records.jsonl").exists()


CLAIM = """
[[claim]]
claim = "Together is better than alone."
paper = "6.9 points (the paper's figure)"
verdict = "holds partly"
reason = "One small run."
measure = [{ what = "alone", sweep = "small", row = "alone", column = "accuracy", scale = 100, unit = "points" }]
"""


@slow
def test_a_claim_stands_beside_what_was_measured(swept, tmp_path):
    sweep = sweeps.read_sweep(swept / "small.toml")
    (tmp_path / "claims.toml").write_text(CLAIM, encoding="utf-8")
    [row] = claims_table(tmp_path / "claims.toml", [sweep], swept / "records.jsonl").to_dict("records")
    alone = results.table(sweep, swept / "records.jsonl").set_index("label").loc["alone"]
    assert row["ours"] == f"alone: {100 * alone['accuracy']:.1f} ± {100 * alone['interval']:.1f} points"
    assert row["verdict"] == "holds partly"


@slow
def test_a_claim_can_be_measured_by_counting(swept, tmp_path):
    counted = '{ what = "trained", count = "trainable_head_twice", backbone = "FacebookAI/xlm-roberta-base", '
    counted += 'method = "prompt-tuning", num_labels = 10, virtual_tokens = 8, unit = "parameters" }'
    start = CLAIM.index("[{")
    (tmp_path / "claims.toml").write_text(f"{CLAIM[:start]}[{counted}]", encoding="utf-8")
    sweep = sweeps.read_sweep(swept / "small.toml")
    [row] = claims_table(tmp_path / "claims.toml", [sweep], swept / "records.jsonl").to_dict("records")
    assert row["ours"] == "trained: 1,202,708 parameters"


@slow
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
        claims_table(tmp_path / "claims.toml", [sweeps.read_sweep(swept / "small.toml")], swept / "records.jsonl")


def test_no_record_no_table(tmp_path):
    with pytest.raises(FedPromptError, match="python -m book"):
        results.table(sweeps.read_sweep(write(tmp_path, SWEEP)), tmp_path / "none.jsonl")


def test_the_interval_of_three_values_by_hand():
    # Mean 2, standard deviation 1, t(0.975, 2 degrees of freedom) = 4.302653.
    assert results.half_interval([1, 2, 3]) == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert np.isnan(results.half_interval([1.0]))


def test_the_own_interval_by_hand():
    record = {"config": {"languages": ["a"]}, "test": {"a": {"accuracy": 0.8, "examples": 400}}}
    low, high = results.own_interval(record)
    assert (high - low) / 2 == pytest.approx(1.959964 * 0.02, rel=1e-6)
    assert (low + high) / 2 == pytest.approx(0.8)


def test_the_numbers_of_scipy_without_scipy():
    for freedom in (1, 2, 3, 4, 9, 30, 101):
        for confidence in (0.5, 0.95, 0.999):
            expected = stats.t.ppf(0.5 + confidence / 2, freedom)
            assert results.t_factor(freedom, confidence) == pytest.approx(expected, rel=1e-12)
    values = np.random.default_rng(0).integers(5, size=40)
    assert (gains.mean_ranks([*values, np.inf]) == stats.rankdata([*values, np.inf])).all()
    expected = stats.spearmanr(values, np.arange(40)).statistic
    assert gains._spearman(values, np.arange(40)) == pytest.approx(expected, rel=1e-12)


def test_the_interval_of_a_setting_by_hand(tmp_path):
    made = []
    for seed, accuracy in enumerate((0.6, 0.7, 0.8)):
        config = RunConfig(languages=("en",), seed=seed).to_dict()
        record = {"format": 1, "name": str(seed), "config": config, "mean_test": {"accuracy": accuracy}}
        record |= {"majority": {"en": 0.1}, "seconds": 1}
        made.append(record | {"test": {"en": {"accuracy": accuracy, "examples": 10**9}}})
    Store(tmp_path / "records.jsonl").add(*made)
    low, high = setting_interval(made[1], tmp_path / "records.jsonl")
    assert (low + high) / 2 == pytest.approx(0.7)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 * np.sqrt(4 / 3), rel=1e-5)
    assert setting_interval(made[1], tmp_path / "none.jsonl") == pytest.approx((0.7, 0.7), abs=1e-4)


@slow
def test_gains_are_paired_by_seed_and_language(swept, tmp_path):
    text = (
        (swept / "small.toml")
        .read_text("utf-8")
        .replace('"alone"', '"local"')
        .replace('"together"', '"federated by language"')
    )
    sweep = sweeps.read_sweep(write(tmp_path, text))
    table = gains.gains_table([sweep], swept / "records.jsonl").set_index("language")
    assert list(table.index) == ["en", "cy"]
    assert table["distance"].iloc[0] == pytest.approx(language_distance("en", "cy"))
    frame = results.scores(sweep, swept / "records.jsonl")
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
    content = results.table(sweeps.read_sweep(BOOK / "sweeps" / "bill.toml"), BOOK / "records.jsonl").set_index("label")
    assert content.loc["LoRA", "rounds_to_target"] == 2
    # Two of three seeds got there; a mean of those two would hide the third.
    assert content.loc["head alone", ["rounds_to_target", "megabytes_to_target"]].isna().all()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
@pytest.mark.slow
def test_a_table_of_the_book_is_what_its_records_give(path, tmp_path):
    sweep = sweeps.read_sweep(BOOK / "sweeps" / f"{path.stem}.toml")
    [made] = results.write_tables([sweep], BOOK / "records.jsonl", tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(made), pd.read_csv(path), rtol=1e-5)


@slow
def test_the_gains_and_claims_of_the_book_are_what_its_records_give(tmp_path):
    written = {"--output": tmp_path, "--page": tmp_path / "page.md", "--tidy": tmp_path / "tidy"}
    done = CliRunner().invoke(app, ["tables", *(str(part) for option in written.items() for part in option)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.md").read_text("utf-8") == (BOOK.parent / "all_results.md").read_text("utf-8")
    for path in (BOOK / "tables").glob("*.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / path.name), pd.read_csv(path), rtol=1e-5)
    for name in ("scores.csv", "rounds.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tidy" / name), pd.read_csv(BOOK / name), rtol=1e-5)
    assert {path.name for path in tmp_path.glob("*.csv")} == {path.name for path in (BOOK / "tables").glob("*.csv")}
