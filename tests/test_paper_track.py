"""The paper track, end to end, on a model of XLM-R's shape with two layers and random weights, over small files."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from fedprompt_helpers import runs
from fedprompt_helpers.config import TRACKS, RunConfig
from fedprompt_helpers.data.tasks import available_languages
from fedprompt_helpers.model.backbones import choose_device, compute_dtype, load_backbone
from fedprompt_helpers.model.counting import XLM_ROBERTA_BASE
from fedprompt_helpers.records import load_record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

CATEGORIES = ["autos", "entertainment", "finance", "foodanddrink", "health", "lifestyle", "news", "sports"]
CATEGORIES += ["travel", "video"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    sizes = XLM_ROBERTA_BASE | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes["intermediate_size"] = 64
    XLMRobertaModel(XLMRobertaConfig(**sizes), add_pooling_layer=False).save_pretrained(folder)
    load_backbone("pocket", num_labels=2)[1].save_pretrained(folder)  # the tokenizer: it has XLM-R's vocabulary
    return folder


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """XGLUE's news classification in its official format: title, body, category, tab-separated, no header."""
    folder = tmp_path_factory.mktemp("data") / "xglue"
    folder.mkdir()
    words = {"en": "The story of", "de": "Die Geschichte von", "fr": "L'histoire de"}
    for language, start in words.items():
        for split in ("dev", "test") if language != "en" else ("train", "dev", "test"):
            lines = [
                f"{start} {category} {i}\t{start} {category}, {split}, {i}.\t{category}"
                for category in CATEGORIES
                for i in range(12)
            ]
            lines[0] = lines[0].replace("\t", "\t" + 700 * "long ", 1)  # longer than the backbone has positions
            (folder / f"xglue.nc.{language}.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder.parent


def small(backbone, mirror, **values) -> RunConfig:
    """Return a configuration of the paper track on the small model and files."""
    given = {"task": "xglue-nc", "languages": ("en", "de", "fr"), "data_dir": str(mirror), "backbone": str(backbone)}
    return RunConfig(**TRACKS["paper"] | given | values)


@pytest.mark.slow
def test_the_paper_track_runs_as_configured(backbone, mirror, tmp_path, preloaded):
    command = preloaded("fedprompt_helpers.cli:main", "run", "--track", "paper", "--task", "xglue-nc")
    command += ["--languages", "en,de,fr", "--backbone", str(backbone), "--data-dir", str(mirror)]
    command += ["--rounds", "2", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text("utf-8"))
    assert RunConfig.from_dict(record["config"]) == small(backbone, mirror, rounds=2)
    assert path.stem == small(backbone, mirror, rounds=2).name()
    assert len(record["labels"]) == 10
    assert record["message_parameters"] == record["parameters"]["trainable"] == 8 * 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert record["backbone_digest"]["before"] == record["backbone_digest"]["after"]
    assert any("cut to 504 tokens" in note for note in record["notes"])  # 512 positions, 8 virtual tokens
    device = choose_device("auto")
    assert (record["config"]["device"], record["machine"]["device"], record["runtime"]) == ("auto", device.type, "here")
    assert f"torch.{record['machine']['weights']}" == str(compute_dtype("auto", "prompt-tuning", device))
    again = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert "has its record already" in again.stderr
    assert again.stdout == result.stdout


@pytest.mark.gpu
@pytest.mark.slow
def test_the_paper_track_uses_the_card(backbone, mirror, tmp_path):
    config = small(backbone, mirror, rounds=2, train_size=32)
    card = load_record(runs.run(config, tmp_path))
    assert card["machine"]["device"] == "cuda"
    same = {"precision": "float32"}
    card, here = (load_record(runs.run(config.replace(device=device, **same), tmp_path)) for device in ("cuda", "cpu"))
    assert card["backbone_digest"] == here["backbone_digest"]
    for one, other in zip(card["rounds"], here["rounds"], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-3)
        assert one["dev_loss"] == pytest.approx(other["dev_loss"], abs=1e-3)


def test_what_the_track_sets_is_the_papers():
    assert TRACKS["paper"] == {
        "backbone": "FacebookAI/xlm-roberta-base",
        "method": "prompt-tuning",
        "virtual_tokens": 8,
        "prompt_init": "random",
        "max_length": 512,
        "learning_rate": 1e-3,
        "patience": 5,
        "batch_size": 32,
        "rounds": 10,
        "local_epochs": 1,
    }
    assert RunConfig(**TRACKS["paper"]).model.device == "auto"


def test_the_books_mapping_puts_fifteen_languages_on_five_clients(monkeypatch):
    monkeypatch.delenv("FEDPROMPT_DATA", raising=False)
    mapping = json.loads((ROOT / "book" / "xnli_on_five_clients.json").read_text(encoding="utf-8"))
    languages = available_languages("xnli")
    config = RunConfig(
        **TRACKS["paper"] | {"task": "xnli", "languages": languages, "partition": "mapping", "mapping": mapping}
    )
    assert config.clients == 5
    assert sorted(name for group in config.data.mapping for name in group) == sorted(languages)
    assert len(languages) == 15


@pytest.mark.slow
def test_an_unseen_language_needs_a_test_file_alone(backbone, tmp_path):
    for language, splits in {"xx": ("train", "dev", "test"), "yy": ("test",)}.items():
        (tmp_path / language).mkdir()
        for split in splits:
            rows = [f"{split} {word} {i}\t{label}" for i in range(6) for word, label in (("sun", "a"), ("rain", "b"))]
            (tmp_path / language / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    config = RunConfig(
        task="own", languages=("xx",), unseen=("yy",), data_dir=str(tmp_path), rounds=1, backbone=str(backbone)
    )
    record = load_record(runs.run(config, tmp_path / "runs"))
    assert record["examples"]["yy"] == {"train": 0, "dev": 0, "test": 12}
    assert set(record["test"]) == {"xx", "yy"}


FEW = {"train_size": 12, "rounds": 1, "local_epochs": 1}


@pytest.mark.slow
def test_unseen_languages_are_tested_and_never_trained_on(backbone, tmp_path):
    config = RunConfig(languages=("en", "de"), unseen=("af", "lb"), backbone=str(backbone), **FEW)
    record = load_record(runs.run(config, tmp_path))
    assert list(record["test"]) == ["en", "de", "af", "lb"]
    assert list(record["rounds"][0]["dev"]) == ["en", "de"]
    assert record["clients"] == [12, 12]


@pytest.mark.slow
def test_a_mapping_gives_clients_several_languages(backbone, tmp_path):
    mapping = [["en", "de"], ["cy"]]
    given = {"languages": ("en", "de", "cy"), "partition": "mapping", "mapping": mapping, "backbone": str(backbone)}
    record = load_record(runs.run(RunConfig(**given, **FEW), tmp_path))
    assert record["clients"] == [24, 12]
    assert set(record["test"]) == {"en", "de", "cy"}
