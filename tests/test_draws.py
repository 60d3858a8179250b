"""Label budgets: what they hold, that they are drawn at random or by class in turn, and that nothing leaks."""

import csv
from collections import Counter

import numpy as np
import pytest

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.corpora import CORPORA
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError

TOPICS = CORPORA["masakhanews"].labels


def write(folder, language, **splits):
    """Write files of MasakhaNEWS's form: for each split pairs of headline and topic."""
    (folder / language).mkdir(parents=True)
    for split, rows in splits.items():
        with (folder / language / f"{split}.tsv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, dialect="excel-tab")
            writer.writerows([["category", "headline", "text"], *([topic, text, "x"] for text, topic in rows)])


def rows(split, **sizes):
    return [(f"{split} {topic} {i}", topic) for topic, n in sizes.items() for i in range(n)]


@pytest.fixture
def mirror(tmp_path):
    shares = {"politics": 60, "health": 30, "sports": 10}
    train = rows("train", **{topic: 6 * n for topic, n in shares.items()})
    dev, test = rows("dev", **shares), rows("test", **shares)
    train += [train[0], ("DEV  politics 0", "politics"), ("test sports 1", "sports")]  # once more, and of other splits
    write(tmp_path, "lin", train=train, dev=dev, test=test)
    excerpt = rows("train", politics=50, health=50, sports=50)
    write(tmp_path, "amh", train=excerpt, dev=dev, test=test)
    return tmp_path


def load(mirror, language="lin", **options):
    task = load_task("masakhanews", [language], data_dir=mirror, **options)
    return {split: data["text"][:] for split, data in task.data[language].items()}, task


@pytest.mark.parametrize("draw", ["natural", "balanced"])
@pytest.mark.parametrize(("budget", "train", "dev"), [(16, 12, 4), (64, 48, 16), (256, 192, 64)])
def test_a_quarter_of_the_budget_is_dev(mirror, budget, train, dev, draw):
    texts, _ = load(mirror, label_budget=budget, draw=draw)
    assert (len(texts["train"]), len(texts["dev"])) == (train, dev)
    assert len({*texts["train"], *texts["dev"]}) == budget
    assert len(texts["test"]) == 100


def test_a_smaller_budget_is_a_part_of_a_larger_one(mirror):
    drawn = [load(mirror, label_budget=n)[0] for n in (16, 64, 256)]
    for less, more in zip(drawn[:-1], drawn[1:], strict=True):
        assert set(less["train"]) < set(more["train"]) and set(less["dev"]) < set(more["dev"])


def test_nothing_of_dev_or_test_and_nothing_twice(mirror):
    texts, task = load(mirror, label_budget=600)
    folded = [text.casefold() for text in texts["train"] + texts["dev"]]
    assert len(set(folded)) == 600 and {text.split()[0] for text in folded} == {"train"}
    assert "lin: 3 training texts are in dev or test too, or come twice, and are left out" in task.notes
    with pytest.raises(FedPromptError, match="a label budget of 601 is asked for, but 600 can be drawn"):
        load(mirror, label_budget=601)


@pytest.mark.slow
def test_natural_draws_have_the_corpus_shares_and_balanced_ones_have_not(mirror):
    found = {"natural": Counter(), "balanced": Counter()}
    for draw, count in found.items():
        for seed in range(30):
            task = load(mirror, label_budget=24, draw=draw, seed=seed)[1]
            count.update(TOPICS[i] for split in ("train", "dev") for i in task.data["lin"][split]["label"][:])
    shares = {draw: {topic: n / count.total() for topic, n in count.items()} for draw, count in found.items()}
    assert shares["natural"] == pytest.approx({"politics": 0.6, "health": 0.3, "sports": 0.1}, abs=0.06)
    assert shares["balanced"] == pytest.approx(dict.fromkeys(shares["balanced"], 1 / 3), abs=0.001)


@pytest.mark.slow
def test_a_class_balanced_excerpt_is_drawn_with_the_corpus_shares(mirror):
    found = Counter()
    for seed in range(30):
        task = load(mirror, "amh", label_budget=32, seed=seed)[1]
        found.update(TOPICS[i] for split in ("train", "dev") for i in task.data["amh"][split]["label"][:])
    assert found["politics"] / found.total() == pytest.approx(0.6, abs=0.05)
    with pytest.raises(FedPromptError, match=r"this class-balanced excerpt; lower label_budget .*or name a folder"):
        load(mirror, "amh", label_budget=128)


def test_seeds_draw_differently_and_the_same_seed_the_same(mirror):
    one, again, other = (load(mirror, label_budget=64, seed=seed)[0]["train"] for seed in (0, 0, 1))
    assert one == again and one != other


def test_no_dev_at_all(mirror):
    texts, _ = load(mirror, label_budget=16, dev_share=0.0)
    assert (len(texts["train"]), texts["dev"]) == (16, [])


def test_each_language_its_own_budget(mirror):
    task = load_task("masakhanews", ["lin", "amh"], data_dir=mirror, label_budget=[64, 16])
    assert {name: len(data["train"]) for name, data in task.data.items()} == {"lin": 48, "amh": 12}
    with pytest.raises(FedPromptError, match="label_budget has 2 numbers for 3 languages"):
        RunConfig(languages=("en", "cy", "ga"), label_budget=(64, 16))


def test_label_sets_and_the_digest_are_of_all_rows_whatever_is_drawn(mirror):
    small, large = (load(mirror, label_budget=n)[1] for n in (16, 64))
    assert small.label_sets == {"lin": ("health", "politics", "sports")}
    assert small.sources == large.sources
    path = mirror / "lin/train.tsv"
    path.write_text(path.read_text("utf-8").replace("train health 5\t", "train health five\t"), "utf-8", newline="")
    assert load(mirror, label_budget=16)[1].sources != small.sources


def test_translations_of_a_pair_are_on_one_side_in_every_language(tmp_path):
    rng = np.random.default_rng(0)
    labels = [x for _ in range(60) for x in rng.permutation(CORPORA["xnli"].labels)]
    for language in ("sw", "ur"):
        (tmp_path / language).mkdir()
        for split in ("dev", "test"):
            lines = [f"label\tsentence1_{language}\tsentence2_{language}"]
            lines += [f"{x}\t{language} {split} {i // 3}\thypothesis {split} {i}" for i, x in enumerate(labels)]
            (tmp_path / language / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    for options in ({}, {"label_budget": 64}, {"train_size": 48, "dev_size": 24}):
        task = load_task("xnli", ["sw", "ur"], data_dir=tmp_path, **options)
        sides = {
            split: {text.split()[-1] for data in task.data.values() for text in data[split]["text"][:]}
            for split in ("train", "dev")
        }
        assert sides["dev"] and not sides["train"] & sides["dev"]


def test_a_budget_that_cannot_be_had_is_said(mirror, tmp_path):
    with pytest.raises(FedPromptError, match="label_budget is 0; it must be greater than or equal to 1"):
        load(mirror, label_budget=0)
    labels = [x for _ in range(30) for x in CORPORA["xnli"].labels]
    (tmp_path / "sw").mkdir()
    for split in ("dev", "test"):
        lines = ["label\tsentence1_sw\tsentence2_sw", *(f"{x}\t{split} {i // 3}\t{i}" for i, x in enumerate(labels))]
        (tmp_path / "sw" / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(FedPromptError, match="20 dev labels of the budget are asked for, but the dev split has 18"):
        load_task("xnli", ["sw"], data_dir=tmp_path, label_budget=80)


def test_draw_without_a_budget_is_a_mistake():
    with pytest.raises(FedPromptError, match="draw and dev_share say how a label budget is spent"):
        RunConfig(draw="balanced")
    with pytest.raises(FedPromptError, match="label_budget counts training and dev labels together"):
        RunConfig(label_budget=16, train_size=12)


@pytest.mark.parametrize("seed", range(4))
def test_a_natural_draw_of_voice_commands_mixes_the_classes(seed):
    task = load_task("intents", ["cy", "en"], seed=seed, label_budget=64)
    for language in task.data:
        assert len({*task.data[language]["train"]["label"]}) >= 8  # of 10 or 12
