"""Saved models: what plain PEFT reads has equal scores, what `predict` says, and folders whole or not there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fedprompt_helpers as fp
from fedprompt_helpers.adapters import ARRAYS, FACTS, classify, load_adapter
from fedprompt_helpers.cli import main
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import load_record
from fedprompt_helpers.reports import learned_nothing

pytestmark = pytest.mark.slow
SMALL = {"languages": ("en", "cy"), "train_size": 16, "dev_size": 16, "rounds": 1, "local_epochs": 1}
SMALL |= {"learning_rate": 1e-2, "max_length": 24}
PLAIN = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, texts, *folders = sys.argv[1:]
texts = json.load(open(texts))
tokenizer = AutoTokenizer.from_pretrained(base)
for folder in folders:
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=12)
    model = PeftModel.from_pretrained(model, folder).eval()
    guesses = {}
    for language, rows in texts.items():
        batch = tokenizer(rows, padding=True, truncation=True, max_length=24, return_tensors="pt")
        with torch.inference_mode():
            guesses[language] = model(**batch).logits.argmax(1).tolist()
    print(json.dumps(guesses))
"""


@pytest.fixture(scope="module")
def save(tmp_path_factory, tiny_backbone):
    """Train a small federation, once for each configuration; give the folder of its model and its record."""
    made = {}

    def train(save_round="best", **values):
        key = json.dumps([save_round, values], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("saved")
            config = fp.RunConfig(**SMALL | {"backbone": tiny_backbone} | values)
            path = fp.run(config, folder / "runs", save=folder / "model", save_round=save_round)
            made[key] = folder / "model", load_record(path)
        return made[key]

    return train


@pytest.fixture(scope="module")
def texts():
    task = fp.load_task("intents", ["en", "cy"])
    return {language: list(task.data[language]["test"]["text"]) for language in ("en", "cy")}


def guesses_of(record: dict, language: str) -> list[str]:
    return [record["labels"][int(letter, 36)] for letter in record["predictions"][language]["guesses"]]


def test_plain_peft_loads_it_in_a_fresh_process_with_equal_scores(save, texts, tiny_backbone, tmp_path):
    methods = ("prompt-tuning", "p-tuning", "prefix-tuning", "lora")
    saved = {method: save(method=method) for method in methods}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    given = [tiny_backbone, str(tmp_path / "texts.json"), *(str(folder) for folder, _ in saved.values())]
    done = subprocess.run([sys.executable, "-c", PLAIN, *given], capture_output=True, text=True, check=True)
    for (method, (_, record)), line in zip(saved.items(), done.stdout.splitlines(), strict=True):
        for language, guesses in json.loads(line).items():
            found = [record["labels"][k] for k in guesses]
            same = np.mean([a == b for a, b in zip(found, guesses_of(record, language), strict=True)])
            assert same > 0.99, (method, language, same)  # padding may turn a tie of a random model


@pytest.mark.parametrize(
    "values",
    [
        *({"method": method} for method in ("lora", "p-tuning", "head", "full")),
        {"method": "head", "pooling": "mean", "head_start": "ridge", "setting": "centralised"},
    ],
    ids=lambda values: "-".join(values.values()),
)
def test_classify_gives_the_guesses_of_the_record(save, texts, values):
    folder, record = save(**values)
    found = [guess.label for guess in classify(load_adapter(folder), texts["cy"])]
    assert found == guesses_of(record, "cy")


@pytest.mark.parametrize(
    "values",
    [{"setting": "local"}, {"personal_epochs": 2}, {"head": "local"}, {"aggregation": "fedavg-distance"}],
    ids=lambda values: next(iter(values)),
)
def test_where_clients_differ_each_language_has_a_folder(save, texts, values):
    folder, record = save(method="lora", **values)
    assert sorted(path.name for path in folder.iterdir()) == ["cy", "en"]
    for language in ("cy", "en"):
        facts = json.loads((folder / language / FACTS).read_text())
        assert list(facts["test"]) == [language]
        found = [guess.label for guess in classify(load_adapter(folder / language), texts[language])]
        assert found == guesses_of(record, language)


def test_best_and_last_round_can_both_be_saved(save, texts):
    values = {"method": "lora", "rounds": 4, "learning_rate": 0.5, "patience": 8}  # too high: the last is not the best
    folder, record = save("both", **values)
    assert record["best_round"] < 4
    best, last = ([guess.label for guess in classify(load_adapter(folder / x), texts["en"])] for x in ("best", "last"))
    assert best == guesses_of(record, "en") and last != best
    assert "Not tested" in (folder / "last/README.md").read_text()


def test_the_best_round_can_be_chosen_by_macro_f1(save):
    values = {"method": "lora", "rounds": 4, "patience": 8}
    for best_by, of in (("loss", lambda entry: entry["dev_loss"]), ("macro-f1", None)):
        record = save(best_by=best_by, **values)[1]
        worse = of or (lambda entry: -np.mean([scores["macro_f1"] for scores in entry["dev"].values()]))
        assert record["best_round"] == min(record["rounds"], key=worse)["round"]
    alone = save(best_by="macro-f1", setting="local", **values)[1]["epochs"]["en"]
    assert all("dev_macro_f1" in entry for entry in alone)


def test_the_card_says_scores_with_their_floor_and_no_path(save):
    folder, record = save(method="p-tuning")
    card = (folder / "README.md").read_text("utf-8")
    assert f"| cy | {record['majority']['cy']:.3f} | {record['test']['cy']['accuracy']:.3f} |" in card
    assert (
        card.startswith("---\nlanguage:\n- en\n- cy\n") and "GetWeather" in card and record["data_digest"]["cy"] in card
    )
    command = next(line for line in card.splitlines() if "fedprompt run" in line)
    assert "--train-size 16" in command and "--local-epochs 1" in command
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == record["config"]["backbone"]


def test_labels_that_a_language_does_not_have_can_be_forbidden(save, texts):
    folder, record = save(method="lora")
    absent = set(record["labels"]) - set(record["label_sets"]["cy"])
    assert absent == {"ClimateSetTemperature", "VacuumStart"}
    adapter = load_adapter(folder)
    arrays = {name: values.copy() for name, values in adapter.arrays.items()}
    bias = next(name for name in arrays if name.endswith("out_proj.bias") or name.endswith("out_proj.default.bias"))
    arrays[bias][record["labels"].index("VacuumStart")] += 100  # a head that guesses nothing else
    wrong = adapter._replace(arrays=arrays)
    assert {guess.label for guess in classify(wrong, texts["cy"])} == {"VacuumStart"}
    allowed = classify(wrong, texts["cy"], language="cy")
    assert not absent & {guess.label for guess in allowed}
    assert all(0 < guess.probability <= 1 for guess in allowed)


def command(capsys, monkeypatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["fedprompt", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, *capsys.readouterr()


def test_predict_prints_label_and_probability(save, texts, capsys, monkeypatch, tmp_path):
    folder, record = save(method="lora")
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(texts["en"]) + "\n", "utf-8")
    code, out, _ = command(capsys, monkeypatch, "predict", "--adapter", str(folder), "--file", str(file))
    assert code == 0 and [line.split("\t")[0] for line in out.splitlines()] == guesses_of(record, "en")
    words = ("predict", "--adapter", str(folder), "--json", "--text", "turn it on", "--text", "a " * 60)
    code, out, err = command(capsys, monkeypatch, *words)
    first = json.loads(out.splitlines()[0])
    assert first["text"] == "turn it on" and first["label"] in record["labels"] and 0 < first["probability"] <= 1
    assert "note: 1 of 2 texts are longer than 24 tokens and were cut" in err


BAD = {
    "an empty line": (["--text", "a", "--text", " "], "text 2 is empty"),
    "no such file": (["--file", "nowhere.txt"], "cannot read nowhere.txt: No such file"),
    "an unknown language": (["--text", "a", "--language", "cz"], "unknown language of this model 'cz'; nearest: cy"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_predict_cannot_use_is_one_line(case, save, capsys, monkeypatch):
    words, said = BAD[case]
    code, out, err = command(capsys, monkeypatch, "predict", "--adapter", str(save(method="lora")[0]), *words)
    assert code == 2 and not out and said in err and err.count("\n") == 1


def spoil_labels(folder: Path) -> None:
    facts = json.loads((folder / FACTS).read_text())
    del facts["labels"]
    (folder / FACTS).write_text(json.dumps(facts))


def spoil_arrays(folder: Path) -> None:
    (folder / ARRAYS).write_bytes(b"no arrays")


def spoil_backbone(folder: Path) -> None:
    facts = json.loads((folder / FACTS).read_text())
    facts["backbone_digest"] = {"before": "0" * 32, "after": "0" * 32}
    (folder / FACTS).write_text(json.dumps(facts))


SPOILED = {
    "no labels": (spoil_labels, "cannot be read .KeyError: 'labels'.*expected a folder that `fedprompt run --save`"),
    "no arrays": (spoil_arrays, "cannot be read .SafetensorError"),
    "nothing of it": (lambda folder: (folder / FACTS).unlink(), "expected a folder that `fedprompt run --save` wrote"),
    "another backbone": (spoil_backbone, "was trained on another backbone"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_folder_that_cannot_be_loaded_says_why(case, save, tmp_path):
    import shutil

    spoil, said = SPOILED[case]
    folder = Path(shutil.copytree(save(method="lora")[0], tmp_path / "copy"))
    spoil(folder)
    with pytest.raises(FedPromptError, match=said):
        load_adapter(folder)


def test_what_cannot_be_saved_is_said_before_anything_trains(save, tmp_path, tiny_backbone):
    config = fp.RunConfig(**SMALL, backbone=tiny_backbone, method="lora")
    with pytest.raises(FedPromptError, match=r"there is something at .* already"):
        fp.run(config, tmp_path / "runs", save=save(method="lora")[0])
    with pytest.raises(FedPromptError, match="each client ends with a model of its own"):
        fp.run(config.replace(setting="local"), tmp_path / "runs", save=tmp_path / "new", save_round="last")
    with pytest.raises(FedPromptError, match="unknown save_round 'first'"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "new", save_round="first")
    assert not (tmp_path / "runs").exists() and not (tmp_path / "new").exists()
    fp.run(config, tmp_path / "runs")
    with pytest.raises(FedPromptError, match="a record holds no model; --again trains it anew"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "new")


def test_a_full_disk_leaves_no_half_of_a_model(save, tmp_path, monkeypatch, tiny_backbone):
    from fedprompt_helpers import adapters

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapters, "write_json", full)
    config = fp.RunConfig(**SMALL, backbone=tiny_backbone, method="lora")
    with pytest.raises(FedPromptError, match=r"cannot write .*new: No space left on device"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "models/new")
    assert not list((tmp_path / "models").iterdir())
    assert len(list((tmp_path / "runs").glob("*.json"))) == 1  # the record is there


@pytest.mark.parametrize(
    "texts_given, others, said",
    [
        ("a text", None, "texts is one text"),
        (["a", " "], None, "text 2 is empty"),
        (["a"], ["b"], "this model reads one text"),
    ],
)
def test_texts_that_cannot_be_classified(texts_given, others, said, save):
    with pytest.raises(FedPromptError, match=said):
        classify(load_adapter(save(method="lora")[0]), texts_given, others)


@pytest.mark.parametrize(
    ("accuracy", "guesses", "said"),
    [
        (0.5, [0, 1, 1], None),
        (0.2, [0, 1, 1], r"the mean accuracy, 0\.200, is not above that of guessing the majority class, 0\.300"),
        (0.5, [1, 1, 1], r"every guess in cy is one and the same label"),
    ],
)
def test_a_run_that_learned_nothing_says_so(accuracy, guesses, said):
    notes = learned_nothing({"cy": {"accuracy": accuracy, "guesses": guesses}}, {"cy": 0.3})
    assert (not notes) if said is None else re.search(f"{said}; usual causes: a learning rate", notes[0])
