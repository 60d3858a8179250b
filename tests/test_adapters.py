"""Saved models: what plain PEFT reads has equal scores, what `predict` says, and folders whole or not there."""

import json
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

import fedprompt_helpers as fp
from fedprompt_helpers.adapters import ARRAYS, FACTS, classify, load_adapter, save_adapters
from fedprompt_helpers.cli import main
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import load_record
from fedprompt_helpers.reports import learned_nothing, make_record

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


@pytest.fixture
def spoiled(save, tmp_path):
    """Give a function that changes what is written of a saved model, and returns the folder of the copy."""

    def change(**facts):
        folder = Path(shutil.copytree(save(method="lora")[0], tmp_path / "copy", dirs_exist_ok=True))
        (folder / FACTS).write_text(json.dumps(json.loads((folder / FACTS).read_text("utf-8")) | facts), "utf-8")
        return folder

    return change


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


def table(folder: Path, languages, pairs: bool = False) -> Path:
    """Write own data in some languages: two classes, of what is on and what is off."""
    for language in languages:
        (folder / language).mkdir(parents=True)
        second = "\tand now\n" if pairs else "\n"
        rows = [f"{x}\tturn it {x} {i}{second}" for i in range(8) for x in ("on", "off")]
        head = "label\ttext" + ("\ttext_pair\n" if pairs else "\n")
        for split in ("train", "dev", "test"):
            (folder / language / f"{split}.tsv").write_text(head + "".join(rows), "utf-8")
    return folder


def own(folder: Path, languages, backbone: str, **values) -> fp.RunConfig:
    return fp.RunConfig(
        task="own", data_dir=str(folder), languages=languages, backbone=backbone, method="lora", rounds=1,
        local_epochs=1, max_length=24, **values,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "languages"),
    [({"setting": "local"}, ("1", "2", "0")), ({"head": "local"}, ("2", "1", "0")), ({"head": "local"}, ("a.b", "ü"))],
    ids=["alone", "local heads", "signs"],
)
def test_a_language_named_by_digits_or_signs_gets_its_own_model(values, languages, tmp_path, tiny_backbone):
    config = own(table(tmp_path / "data", languages), languages, tiny_backbone, **values)
    fp.run(config, tmp_path / "runs", save=tmp_path / "models")
    assert {path.name for path in (tmp_path / "models").iterdir()} == set(languages)
    outcome = fp.simulate(config, keep_own=True)
    for number, language in enumerate(languages):
        arrays = outcome.own[language if "setting" in values else str(number)]
        saved = load_file(tmp_path / "models" / language / ARRAYS)
        assert all(np.array_equal(saved[name], arrays[name]) for name in arrays)
        assert list(json.loads((tmp_path / "models" / language / FACTS).read_text("utf-8"))["test"]) == [language]


def test_a_model_of_pairs_reads_two_texts_with_a_tab_between(tmp_path, tiny_backbone, capsys, monkeypatch):
    config = own(table(tmp_path / "data", ("en",), pairs=True), ("en",), tiny_backbone)
    fp.run(config, tmp_path / "runs", save=tmp_path / "model")
    words = ("predict", "--adapter", str(tmp_path / "model"), "--json")
    code, out, _ = command(capsys, monkeypatch, *words, "--text", "turn it on\tand now")
    assert code == 0 and json.loads(out)["text"] == "turn it on" and json.loads(out)["text_pair"] == "and now"
    for line, said in (("alone", "text 2 is no pair"), ("a\tb\tc", "text 2 is no pair"), ("a\t ", "text 2 is empty")):
        code, out, err = command(capsys, monkeypatch, *words, "--text", "a\tb", "--text", line)
        assert code == 2 and not out and said in err and err.count("\n") == 1
    model = fp.load_adapter(tmp_path / "model")
    assert len(fp.classify(model, "turn it on", "and now")) == 1
    with pytest.raises(FedPromptError, match="two texts for each example; give texts and as many others"):
        fp.classify(model, ["a", "b"], ["c"])


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
    tested = record["examples"]["cy"]["test"]
    assert f"| cy | {tested} | {record['majority']['cy']:.3f} | {record['test']['cy']['accuracy']:.3f} |" in card
    assert (
        card.startswith("---\nlanguage:\n- en\n- cy\n") and "GetWeather" in card and record["data_digest"]["cy"] in card
    )
    command = next(line for line in card.splitlines() if "fedprompt run" in line)
    assert "--train-size 16" in command and "--local-epochs 1" in command
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == record["config"]["backbone"]


def test_the_command_of_the_card_makes_the_same_configuration(save, monkeypatch):
    from fedprompt_helpers import cli

    folder, record = save(method="lora", patience=None, partition="mapping", mapping=[["en"], ["cy"]])
    line = next(line for line in (folder / "README.md").read_text("utf-8").splitlines() if "fedprompt run" in line)
    made = []

    def stop(track, given):
        made.append(configuration(track, given))
        raise FedPromptError("stopped here")

    configuration = cli.configuration
    monkeypatch.setattr(cli, "configuration", stop)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit):
        main()
    assert made[0].to_dict() == record["config"]


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


def test_a_text_ends_where_its_line_ends(save, capsys, monkeypatch, tmp_path):
    file, given = tmp_path / "lines.txt", ["one\u2028line", "a form\x0cfeed", "next\x85line", "last"]
    file.write_bytes("\ufeff{}\r\n{}\r{}\n{}\r\n".format(*given).encode())
    words = ("predict", "--adapter", str(save(method="lora")[0]), "--json", "--file", str(file))
    code, out, _ = command(capsys, monkeypatch, *words)
    assert code == 0 and [json.loads(line)["text"] for line in out.split("\n")[:-1]] == given


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


def test_a_model_that_was_trained_on_a_card_loads_without_one(spoiled, save, texts):
    record = save(method="lora")[1]
    folder = spoiled(config=record["config"] | {"device": "cuda"})
    assert [guess.label for guess in classify(load_adapter(folder), texts["cy"])] == guesses_of(record, "cy")


@pytest.mark.parametrize(
    "facts",
    [
        {"labels": "abc"},
        {"labels": []},
        {"labels": ["a", "a", "b"]},
        {"labels": [["a"], "b"]},
        {"labels": list(range(12))},
        {"label_sets": {"cy": []}},
        {"label_sets": {"cy": ["none of them"]}},
        {"label_sets": ["cy"]},
        {"label_sets": {"cy": None}},
        {"pairs": "no"},
        {"config": []},
        {"format": "1"},
        {"machine": "a"},
    ],
    ids=str,
)
def test_facts_that_were_changed_are_refused_in_one_line(facts, spoiled):
    with pytest.raises(FedPromptError, match=r"^\S*/copy cannot be read \((Type|Attribute)Error: [^\n]*$"):
        load_adapter(spoiled(**facts))


def test_a_model_without_label_sets_or_of_another_kind_of_json(spoiled):
    folder = spoiled(label_sets=None)
    assert classify(load_adapter(folder), "a text")[0].probability > 0
    for content in ("[]", "3", "null", '"text"'):
        (folder / FACTS).write_text(content, "utf-8")
        with pytest.raises(FedPromptError, match=r"cannot be read .*expected a folder that `fedprompt run --save`"):
            load_adapter(folder)


@pytest.mark.parametrize("kind", ["nan", "inf", "int64", "float64", "float8", "bfloat16", "empty", "shape"])
def test_arrays_that_were_changed_are_refused_in_one_line(kind, spoiled):
    folder = spoiled()
    arrays = load_file(folder / ARRAYS)
    name = next(iter(arrays))
    if kind in ("nan", "inf"):
        arrays[name][0] = float(kind)
    elif kind == "empty":
        arrays = {}
    elif kind == "shape":
        arrays[name] = arrays[name][:-1]
    elif kind in ("int64", "float64"):
        arrays[name] = arrays[name].astype(kind)
    save_file(arrays, folder / ARRAYS)
    if odd := {"float8": torch.float8_e4m3fn, "bfloat16": torch.bfloat16}.get(kind):
        save_tensors({key: torch.from_numpy(values).to(odd) for key, values in arrays.items()}, folder / ARRAYS)
    with pytest.raises(FedPromptError, match=r"^[^\n]*(cannot be read|belong to another model)[^\n]*$"):
        load_adapter(folder)


def test_what_is_no_number_is_never_a_probability(save):
    adapter = load_adapter(save(method="lora")[0])
    huge = {name: np.full_like(values, 3e38) for name, values in adapter.arrays.items()}
    with pytest.raises(FedPromptError, match="is not a number"):
        classify(adapter._replace(arrays=huge), ["a text"])


def test_a_folder_of_models_and_a_folder_that_is_none(save, tmp_path):
    with pytest.raises(FedPromptError, match="holds a model in each of cy, en; name one of these folders"):
        load_adapter(save(method="lora", setting="local")[0])
    with pytest.raises(FedPromptError, match="None cannot be read"):
        load_adapter(None)
    plain = Path(shutil.copytree(save(method="lora")[0], tmp_path / "plain"))
    (plain / FACTS).unlink()
    with pytest.raises(FedPromptError, match=f"cannot read [^\n]*{FACTS}: No such file[^\n]*--save"):
        load_adapter(plain)


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
    spoil, said = SPOILED[case]
    folder = Path(shutil.copytree(save(method="lora")[0], tmp_path / "copy"))
    spoil(folder)
    with pytest.raises(FedPromptError, match=said):
        load_adapter(folder)


def test_what_cannot_be_saved_is_said_before_anything_trains(save, tmp_path, tiny_backbone):
    config = fp.RunConfig(**SMALL, backbone=tiny_backbone, method="lora")
    with pytest.raises(FedPromptError, match="is there already, or will be for the record; name a new folder"):
        fp.run(config, tmp_path / "runs", save=save(method="lora")[0])
    for setting in ("local", "centralised"):
        with pytest.raises(FedPromptError, match="does not end with the one model of a federation"):
            fp.run(config.replace(setting=setting), tmp_path / "runs", save=tmp_path / "new", save_round="last")
    with pytest.raises(FedPromptError, match="save_round is 'last', but nothing is saved"):
        fp.run(config, tmp_path / "runs", save_round="last")
    with pytest.raises(FedPromptError, match="will be for the record"):
        fp.run(config, tmp_path / "runs", save=tmp_path)
    (tmp_path / "file").write_text("")
    for place in ("file/model", "n" * 250):
        with pytest.raises(FedPromptError, match=r"cannot write .*(Not a directory|File exists|File name too long)"):
            fp.run(config, tmp_path / "runs", save=tmp_path / place)
    with pytest.raises(FedPromptError, match="unknown save_round 'first'"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "new", save_round="first")
    assert not (tmp_path / "runs").exists() and not (tmp_path / "new").exists()
    fp.run(config, tmp_path / "runs")
    with pytest.raises(FedPromptError, match="a record holds no model; --again trains it anew"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "new")


@pytest.mark.parametrize("languages", [("a-b", "a", "b", "c"), ("../a", "c"), ("/a", "c"), ("..", "c")], ids=str)
def test_a_language_that_is_no_name_of_a_folder_is_refused_before_anything_trains(languages, tmp_path):
    values = {"partition": "mapping", "mapping": [["a-b"], ["a", "b"], ["c"]]} if len(languages) == 4 else {}
    config = fp.RunConfig(task="own", languages=languages, head="local", **values)
    with pytest.raises(FedPromptError, match="is no name of a folder, or that of two; rename a language"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk():
    """Give a function after whose call no file can grow beyond some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("method", "size"), [("lora", 300), ("head", 300), ("head", 2500)])
def test_a_full_disk_leaves_no_half_of_a_model(method, size, tmp_path, tiny_backbone, full_disk):
    config = fp.RunConfig(**SMALL, backbone=tiny_backbone, method=method)
    outcome = fp.simulate(config)
    record = make_record(config, outcome, 1.0, "here")
    full_disk(size)
    with pytest.raises(FedPromptError, match=r"cannot write .*/new: .*(No space|File too large).* with --save"):
        save_adapters(tmp_path / "models/new", outcome, record)
    assert not list((tmp_path / "models").iterdir())


def test_a_model_that_could_not_be_saved_is_saved_by_the_same_command(tmp_path, tiny_backbone):
    config = fp.RunConfig(**SMALL, backbone=tiny_backbone, method="lora")

    def in_the_way(entry):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model/file").write_text("")

    with pytest.raises(FedPromptError, match=r"cannot write .*model: Directory not empty"):
        fp.run(config, tmp_path / "runs", save=tmp_path / "model", on_progress=in_the_way)
    path = next((tmp_path / "runs").glob("*.json"))
    record, rounds = load_record(path), []
    assert fp.run(config, tmp_path / "runs", save=tmp_path / "other", on_progress=rounds.append) == path
    assert rounds and all(entry["resumed"] for entry in rounds) and load_record(path) == record
    assert len(classify(load_adapter(tmp_path / "other"), "a text")) == 1
    assert [found.name for found in (tmp_path / "runs").iterdir()] == [path.name]


@pytest.mark.parametrize(
    "texts_given, others, said",
    [
        (["a", " "], None, "text 2 is empty"),
        (["a"], ["b"], "this model reads one text"),
        (None, None, "texts are of type NoneType; give a text, or a list of texts"),
        (3, None, "texts are of type int"),
        (b"a", None, "texts are of type bytes"),
        ({"a": 1}, None, "texts are of type dict"),
        (np.array("a"), None, "texts are of type ndarray"),
        (["a", 3], None, "text 2 is of type int"),
        (["a", None], None, "text 2 is of type NoneType"),
    ],
    ids=str,
)
def test_texts_that_cannot_be_classified(texts_given, others, said, save):
    with pytest.raises(FedPromptError, match=said):
        classify(load_adapter(save(method="lora")[0]), texts_given, others)


def test_one_text_and_any_row_of_texts_can_be_classified(save, texts):
    adapter, given = load_adapter(save(method="lora")[0]), texts["cy"][:3]
    found = classify(adapter, given)
    assert len(found) == 3 and classify(adapter, []) == []
    for rows in (tuple(given), np.array(given), (text for text in given)):
        assert classify(adapter, rows) == found
    assert classify(adapter, given[0])[0].label == found[0].label


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
