"""The evidence: differences paired by seed, intervals as SciPy has them, verdicts by rule, and its page."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from book.research import evidence, evidence_page
from book.research.__main__ import EVIDENCE, ORDER, RECORDS
from book.research.store import Store, open_store
from book.research.sweeps import everything, read_sweep
from book.research.verdicts import read_verdicts
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import load_record
from fedprompt_helpers.runs import run

from .test_draws import rows, write

ROOT = Path(__file__).resolve().parent.parent
FIRST = (ROOT / "book/intro.md").read_text("utf-8")
SWEEPS = [read_sweep(ROOT / EVIDENCE / f"{name}.toml") for name in ORDER]


def frame(gains: dict[int, float], seeds=10, noise=0.01) -> pd.DataFrame:
    """Scores of two settings: at each budget the second is ahead by so much, in two languages."""
    rng, rows = np.random.default_rng(0), []
    for budget, gain in gains.items():
        for seed in range(seeds):
            luck = rng.normal(scale=0.2)  # shared by both: a seed that is hard is hard for both
            for language in ("ibo", "lin"):
                alone = 0.5 + luck
                both = {"local": alone, "federated": alone + gain + rng.normal(scale=noise)}
                rows += [
                    {"label": label, "label_budget": budget, "seed": seed, "language": language, "accuracy": value}
                    for label, value in both.items()
                ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed_and_their_interval_is_that_of_a_paired_t_test():
    scores = frame({16: 0.1, 64: 0.0})
    found = evidence.differences(scores, "federated", "local", 16)
    means = scores[scores["label_budget"] == 16].groupby(["label", "seed"])["accuracy"].mean()
    known = stats.ttest_rel(means["federated"], means["local"]).confidence_interval()
    assert evidence.interval(found) == pytest.approx((known.low, known.high))
    assert known.high - known.low < 0.03  # though a seed alone moves both by twenty points
    both = evidence.differences(scores, "federated", "local", None)
    assert both.mean() == pytest.approx(found.mean() / 2, abs=0.01)


def test_a_bootstrap_of_seeds_and_languages_is_wider_than_of_seeds_alone():
    scores = frame({16: 0.1})
    scores.loc[(scores["language"] == "lin") & (scores["label"] == "federated"), "accuracy"] += 0.1
    low, high = evidence.bootstrap(scores, "federated", "local", 16)
    alone = evidence.interval(evidence.differences(scores, "federated", "local", 16))
    assert low < alone[0] and alone[1] < high


def test_languages_of_unequal_size_have_a_row_each():
    scores = frame({16: 0.1}, noise=0)
    scores.loc[scores["language"] == "lin", "label_budget"] = 256
    scores.loc[(scores["language"] == "lin") & (scores["label"] == "federated"), "accuracy"] -= 0.13
    made = evidence.by_language(scores.assign(majority=0.3), "local", seeds=10)
    assert made[["label_budget", "language"]].to_numpy().tolist() == [[16, "ibo"], [256, "lin"]]
    assert made["federated: gain"].to_numpy() == pytest.approx([0.1, -0.03])
    sweep = read_sweep(ROOT / EVIDENCE / "afrisenti.toml")
    section = evidence_page.SECTIONS["afrisenti"](sweep, made)
    assert "| 256 | lin | 0.300 |" in section and "-0.030" in section
    ticks = evidence_page.PLOTS["afrisenti"](sweep, made).axes[0].get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["ibo, 16", "lin, 256"]
    half = scores[(scores["label"] == "local") | (scores["seed"] < 4)].assign(majority=0.3)
    assert evidence.by_language(half, "local", seeds=10).empty  # under way


def test_every_hypothesis_has_a_verdict_from_settings_that_a_sweep_has():
    text = (ROOT / "book/results/hypotheses.md").read_text("utf-8")
    empty = {sweep.path.stem: pd.DataFrame() for sweep in SWEEPS}
    labels = {sweep.path.stem: {block["label"] for block in sweep.blocks} for sweep in SWEEPS}
    read = read_verdicts(ROOT / EVIDENCE / "verdicts.toml", empty)
    # Sections 13 and 14 are those of chapters 15 and 14, which tell themselves what failed.
    assert [each["number"] for each in read] == re.findall(r"^- H((?!1[34]\.)[0-9.]+[0-9]) ", text, re.MULTILINE)
    for each in read:
        for test in each["tests"]:
            for part in (test, test | test.get("minus", {})):
                for setting in part.get("settings", ()):
                    for one in setting if isinstance(setting, list) else [setting]:
                        sweep, _, label = one.rpartition("/")
                        assert label in labels[sweep or part["sweep"]]


def test_groups_of_languages_are_those_of_the_distance_sweep():
    groups = tomllib.loads((ROOT / EVIDENCE / "verdicts.toml").read_text("utf-8"))["languages"]
    sweep = next(sweep for sweep in SWEEPS if sweep.path.stem == "distance")
    assert sorted(name for group in groups.values() for name in group) == sorted(sweep.common["languages"])
    ours = next(sweep for sweep in SWEEPS if sweep.path.stem == "headline").common["languages"]
    assert set(ours) & set(groups["in XLM-R's list"]) == {"orm", "som", "xho"}


def test_the_bill_to_a_target_has_one_target():
    assert {sweep.target for sweep in SWEEPS if sweep.path.stem in ("headline", "recipe")} == {0.6}


def test_every_setting_has_ten_seeds_and_a_random_draw():
    for sweep in SWEEPS:
        configs = list(everything(sweep))
        seeds = {"distance": 5, "rates": 3}.get(sweep.path.stem, 10)
        assert {config.seed for config in configs} == set(range(seeds))
        assert all(config.data.draw == "natural" and config.data.label_budget for config in configs)


def test_every_teacher_teaches_all_others():
    sweep = next(sweep for sweep in SWEEPS if sweep.path.stem == "transfer")
    taught = {block["label"]: (block["languages"], block["unseen"]) for block in sweep.blocks}
    for teacher, (own, pupils) in taught.items():
        assert own == [teacher] and sorted([teacher, *pupils]) == sorted(taught)


def test_records_of_the_evidence_name_their_code_and_their_data():
    wanted = {config for sweep in SWEEPS for config in everything(sweep)}
    found = [record for config, record in open_store(ROOT / RECORDS).items() if config in wanted]
    for record in found:
        assert record["code"] and not record["code"].endswith("-dirty")
        assert set(record["source_digest"]) == set(record["data_digest"]) == set(record["test"])
        for name, scores in record["test"].items():
            told = record["predictions"][name]
            right = [a == b for a, b in zip(told["truth"], told["guesses"], strict=True)]
            assert np.mean(right) == pytest.approx(scores["accuracy"])


def test_settings_that_drew_other_texts_are_not_compared(tmp_path):
    linear = next(sweep for sweep in SWEEPS if sweep.path.stem == "linear")
    wanted = {config for config in everything(linear) if config.seed == 4 and config.data.label_budget == (64,)}
    found = [record for config, record in open_store(ROOT / RECORDS).items() if config in wanted][:2]
    assert len(evidence.scores(linear, Store(tmp_path / "none.jsonl"))) == 0
    for record in found:
        record = json.loads(json.dumps(record))
        record["data_digest"]["lug"] = record["name"]
        Store(tmp_path / "records.jsonl").add(record)
    with pytest.raises(FedPromptError, match=r"linear.toml: .* drew other texts of lug than another record of seed 4"):
        evidence.scores(linear, tmp_path / "records.jsonl")


@pytest.mark.slow
def test_tables_figures_and_page_are_those_of_the_records(tmp_path):
    (tmp_path / "verdicts.toml").write_text((ROOT / EVIDENCE / "verdicts.toml").read_text("utf-8"), "utf-8")
    evidence_page.write(SWEEPS, ROOT / RECORDS, tmp_path, tmp_path / "evidence.md")
    assert (tmp_path / "evidence.md").read_text("utf-8") == (ROOT / "book/evidence.md").read_text("utf-8")
    for path in [*tmp_path.glob("*.csv"), *tmp_path.glob("*.png")]:
        assert path.read_bytes() == (ROOT / EVIDENCE / path.name).read_bytes()


@pytest.mark.slow
def test_the_first_page_says_what_the_table_says():
    content = pd.read_csv(ROOT / EVIDENCE / "linear.csv").pivot(index="label_budget", columns="setting")["accuracy"]
    said = re.search(r"With 16 labels.*?with 256 sharing is behind.*?\.\s", FIRST, re.S)
    assert said, "the first page no longer says what sharing is worth"
    pairs = [
        f"{content.loc[budget, f'ridge, {who}']:.3f}" for budget in (16, 64, 256) for who in ("one message", "local")
    ]
    pairs.insert(2, f"{content['majority class'].iloc[0]:.3f}")
    assert re.findall(r"0\.\d{3}", said.group()) == pairs
    assert (content["federated"] < content["local"]).all()  # FedAvg of the same layer stays below


@pytest.mark.slow
def test_verify_compares_the_data_first(tmp_path, tiny_backbone, monkeypatch, preloaded):
    mirror, store = tmp_path / "mirror", Store(tmp_path / "records.jsonl")
    sizes = {"politics": 60, "health": 30}
    for language in ("lin", "lug"):
        write(mirror, language, **{split: rows(f"{language} {split}", **sizes) for split in ("train", "dev", "test")})
    monkeypatch.setenv("FEDPROMPT_DATA", str(mirror))
    fields = {"task": "masakhanews", "languages": ("lin", "lug"), "label_budget": 16, "backbone": tiny_backbone}
    fields |= {"method": "head", "pooling": "mean", "head_start": "ridge", "rounds": 0}
    for seed in (0, 1):
        store.add(load_record(run(RunConfig(**fields, seed=seed), tmp_path / "runs")))
    name, file = RunConfig(**fields).name(), mirror / "lin/train.tsv"
    data = load_task("masakhanews", ["lin"], label_budget=16).data["lin"]
    drawn = data["train"]["text"][:] + data["dev"]["text"][:]
    other = next(text for text, _ in rows("lin train", **sizes) if text not in drawn)

    def verify() -> tuple[int, str]:
        command = preloaded("book.research.__main__:main", "verify", name, "--records", store.path)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stdout

    code, said = verify()
    assert code == 0 and "the same data" in said and "inside" in said and "did not draw" not in said
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(f"\t{other}\t", f"\t{other} !\t"), "utf-8", newline="")
    code, said = verify()
    assert code == 0 and "the files of lin differ from the record's in rows that it did not draw" in said
    file.write_text(whole.replace(f"\t{drawn[0]}\t", f"\t{drawn[0]} !\t"), "utf-8", newline="")
    code, said = verify()
    assert code == 1 and "other data than the record's" in said and "now" not in said
