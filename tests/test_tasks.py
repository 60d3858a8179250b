"""Loading a task: what a user sees, on the real corpus."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from fedprompt_helpers.config import TASKS
from fedprompt_helpers.data.corpora import CORPORA, SPLITS
from fedprompt_helpers.data.tasks import (
    available_languages,
    load_task,
    majority_accuracy,
    task_labels,
)
from fedprompt_helpers.errors import FedPromptError

ROOT = Path(__file__).resolve().parents[1]
LABELS = CORPORA["intents"].labels
# Made from home-assistant-intents 2026.10.27: sentences in train, dev, test; classes in train.
COUNTS = {
    "en": (300, 117, 143, 12),
    "de": (292, 111, 140, 12),
    "fr": (296, 113, 145, 12),
    "eu": (300, 115, 145, 12),
    "cy": (300, 117, 150, 10),
    "ga": (295, 118, 145, 12),
    "lb": (299, 119, 149, 11),
    "is": (299, 114, 147, 11),
    "af": (295, 110, 142, 10),
    "bn": (296, 116, 150, 10),
    "ne": (297, 114, 145, 11),
    "sw": (56, 22, 40, 2),
    "es": (295, 118, 146, 12),
    "nl": (296, 114, 148, 12),
}


@pytest.fixture(scope="module")
def everything():
    return load_task("intents")


def fingerprint(task):
    """One hash a language, over the text and label of every row in order."""
    return {
        language: hashlib.sha256(
            json.dumps([(split, task.data[language][split].to_dict()) for split in SPLITS]).encode()
        ).hexdigest()
        for language in task.languages
    }


def test_every_language_loads_with_one_label_set(everything):
    assert everything.languages == available_languages("intents")
    assert len(everything.languages) >= 12
    for language in everything.languages:
        assert list(everything.data[language]) == list(SPLITS)
        for split in SPLITS:
            data = everything.data[language][split]
            assert data.column_names == ["text", "label"]
            assert tuple(data.features["label"].names) == everything.labels == LABELS
            assert all(isinstance(text, str) and text for text in data["text"])


def test_counts_are_the_measured_ones(everything):
    found = {}
    for language, splits in everything.data.items():
        classes = len(set(splits["train"]["label"]))
        found[language] = (*(len(splits[split]) for split in SPLITS), classes)
    assert found == COUNTS
    assert CORPORA["intents"].rows == {language: tuple(counts[:3]) for language, counts in COUNTS.items()}


@pytest.mark.slow
def test_another_process_and_another_order_give_the_same_data(everything):
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_tasks import fingerprint, load_task\n"
        "import json\n"
        "print(json.dumps(fingerprint(load_task('intents', ['ne', 'cy', 'de', 'sw']))))\n"
    )
    env = os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    here = fingerprint(everything)
    assert json.loads(run.stdout) == {language: here[language] for language in ("ne", "cy", "de", "sw")}


def test_the_seed_changes_the_order_of_training_and_nothing_else():
    first, second = (load_task("intents", ["eu"], seed=seed).data["eu"] for seed in (0, 1))
    assert set(first["train"]["text"]) == set(second["train"]["text"])
    assert set(first["train"]["text"][:48]) != set(second["train"]["text"][:48])
    for split in ("dev", "test"):
        assert first[split].to_dict() == second[split].to_dict()


def test_seed_0_draws_what_the_first_version_of_the_package_drew(everything):
    """Records of that version stay comparable: the same commands, and the same of them at every size."""
    digests = {language: fingerprint(everything)[language][:8] for language in ("en", "cy", "sw")}
    assert digests == {"en": "bbc848fc", "cy": "8a928623", "sw": "a2e3e043"}


@pytest.mark.parametrize("language", ["en", "sw", "ne"])
def test_smaller_training_sets_are_inside_larger_ones(language, everything):
    full = everything.data[language]["train"]["text"]
    for size in (1, 8, 16, 48):
        task = load_task("intents", [language], train_size=size)
        assert list(task.data[language]["train"]["text"]) == list(full[:size])
        for split in ("dev", "test"):
            assert task.data[language][split].to_dict() == everything.data[language][split].to_dict()


def test_small_training_sets_keep_every_class(everything):
    for language in everything.languages:
        classes = set(everything.data[language]["train"]["label"])
        small = everything.data[language]["train"].select(range(2 * len(classes)))
        assert set(small["label"]) == classes
        assert max(Counter(small[: len(classes)]["label"]).values()) == 1


def test_a_train_size_beyond_the_data_gives_all_of_it(everything):
    task = load_task("intents", ["sw"], train_size=10_000)
    assert task.data["sw"]["train"].to_dict() == everything.data["sw"]["train"].to_dict()


def test_notes_name_missing_classes_and_the_version(everything):
    for language in everything.languages:
        mine = " ".join(note for note in everything.notes if note.startswith(f"{language}: "))
        present = set(everything.data[language]["train"]["label"])
        for number, label in enumerate(everything.labels):
            assert number in present or label in mine
    assert everything.notes[0].startswith("home-assistant-intents 2026.10.27 (") and "package" in everything.notes[0]
    assert not any("too" in note.split() or "whole corpus" in note for note in everything.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "intens"}, "unknown task 'intens'.*intents"),
        ({"name": "intents", "languages": ["en", "eus"]}, "unknown language 'eus'; nearest: .*eu"),
        ({"name": "intents", "languages": ["de-CH"]}, "unknown language 'de-CH'; nearest: .*de"),
        ({"name": "intents", "languages": ["en", "cy", "en"]}, "'en' is given twice"),
        ({"name": "intents", "languages": "en"}, r"write \['en'\]"),
        ({"name": "intents", "languages": []}, "no language given"),
        ({"name": "intents", "train_size": 0}, "train_size is 0"),
        (
            {"name": "intents", "data_dir": "some/folder"},
            "task 'intents' is in this package, not in 'some/folder'; leave",
        ),
        ({"name": "intents", "text_field": "both"}, "no choice of texts; .*masakhanews, xglue-nc"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message):
    with pytest.raises(FedPromptError, match=message) as caught:
        load_task(**arguments)
    assert "\n" not in str(caught.value)


def test_available_languages_of_an_unknown_task():
    with pytest.raises(FedPromptError, match="unknown task 'nli'"):
        available_languages("nli")


def test_every_task_says_in_one_line_what_it_is():
    assert tuple(CORPORA) == TASKS
    assert TASKS[:6] == ("intents", "masakhanews", "xnli", "xglue-nc", "sib200", "afrisenti")
    assert TASKS[6:] == ("masakhaner2", "xquad", "own", "own-tokens", "own-span")
    for source in CORPORA.values():
        assert 20 < len(source.about) < 110
        assert "\n" not in source.about


def test_majority_accuracy_counts():
    assert majority_accuracy(Dataset.from_dict({"label": [2, 0, 2, 1, 2, 0, 0, 2]})) == (2, 0.5)
    assert majority_accuracy(Dataset.from_dict({"label": [3, 1, 1, 3]})) == (1, 0.5)
    with pytest.raises(FedPromptError, match="empty"):
        majority_accuracy(Dataset.from_dict({"label": []}))


def test_guessing_scores_low_where_there_are_many_classes(everything):
    for language in everything.languages:
        classes = len(set(everything.data[language]["test"]["label"]))
        _, share = majority_accuracy(everything.data[language]["test"])
        assert share <= 2 / classes


def test_importing_the_tasks_imports_nothing_heavy():
    script = (
        "import sys, fedprompt_helpers.data.tasks; sys.exit(bool({'torch', 'datasets', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


def test_a_smaller_dev_split_is_a_part_of_the_whole_and_nothing_else_changes(everything):
    task = load_task("intents", ["cy"], dev_size=20)
    texts, whole = list(task.data["cy"]["dev"]["text"]), everything.data["cy"]
    assert len(texts) == len(set(texts)) == 20
    assert set(texts) < set(whole["dev"]["text"])
    for split in ("train", "test"):
        assert task.data["cy"][split].to_dict() == whole[split].to_dict()
    other = load_task("intents", ["cy"], dev_size=20, seed=1).data["cy"]["dev"]["text"]
    assert texts != list(other)


def test_a_dev_size_of_nothing_is_refused():
    with pytest.raises(FedPromptError, match="dev_size is 0"):
        load_task("intents", ["cy"], dev_size=0)


def test_labels_of_a_task():
    assert task_labels("intents") == LABELS and len(LABELS) == 12
    assert task_labels("xnli") == ("entailment", "neutral", "contradiction")
    assert task_labels("own") is None
    with pytest.raises(FedPromptError, match="unknown task 'news'"):
        task_labels("news")


def test_labels_given_to_a_task_that_has_its_own_must_be_those():
    assert load_task("intents", ["sw"], labels=LABELS).labels == LABELS
    with pytest.raises(FedPromptError, match="task 'intents' has others of its own; leave them out"):
        load_task("intents", ["sw"], labels=("TurnOn", "TurnOff"))
