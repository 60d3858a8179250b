"""The paper track, end to end, on a model of XLM-R's shape with two layers and random weights, over small files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from fedprompt_helpers.accounting import XLM_ROBERTA_BASE
from fedprompt_helpers.backbones import load_backbone
from fedprompt_helpers.config import TRACKS, RunConfig
from fedprompt_helpers.tasks import available_languages

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
    load_backbone("pocket", num_labels=2).tokenizer.save_pretrained(folder)  # it has XLM-R's vocabulary
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


def test_the_paper_track_runs_as_configured(backbone, mirror, tmp_path):
    command = [sys.executable, "-m", "fedprompt_helpers", "run", "--track", "paper", "--task", "xglue-nc"]
    command += ["--languages", "en,de,fr", "--backbone", str(backbone), "--data-dir", str(mirror)]
    command += ["--rounds", "2", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    expected = TRACKS["paper"] | {"backbone": str(backbone), "rounds": 2, "task": "xglue-nc"}
    assert {name: record["config"][name] for name in expected} == expected
    assert len(record["labels"]) == 10
    assert record["message_parameters"] == record["parameters"]["trainable"] == 8 * 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert record["backbone_digest"]["before"] == record["backbone_digest"]["after"]
    assert any("cut to 504 tokens" in note for note in record["notes"])  # 512 positions, 8 virtual tokens


def test_a_record_of_the_paper_track_rebuilds_its_configuration():
    config = RunConfig(**(TRACKS["paper"] | {"mapping": None, "languages": ("en", "de")}))
    assert RunConfig.from_dict(config.to_dict()) == config


def test_the_books_mapping_puts_fifteen_languages_on_five_clients(monkeypatch):
    monkeypatch.delenv("FEDPROMPT_DATA", raising=False)
    mapping = json.loads((ROOT / "book" / "xnli_on_five_clients.json").read_text(encoding="utf-8"))
    languages = available_languages("xnli")
    config = RunConfig(
        **TRACKS["paper"] | {"task": "xnli", "languages": languages, "partition": "mapping", "mapping": mapping}
    )
    assert config.num_clients == 5
    assert sorted(name for group in config.mapping for name in group) == sorted(languages)
    assert len(languages) == 15


def test_an_unseen_language_needs_a_test_file_alone(tmp_path):
    for language, splits in {"xx": ("train", "dev", "test"), "yy": ("test",)}.items():
        (tmp_path / language).mkdir()
        for split in splits:
            rows = [f"{split} {word} {i}\t{label}" for i in range(6) for word, label in (("sun", "a"), ("rain", "b"))]
            (tmp_path / language / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    command = [sys.executable, "-m", "fedprompt_helpers", "run", "--task", "tsv", "--languages", "xx", "--unseen", "yy"]
    command += ["--data-dir", str(tmp_path), "--rounds", "1", "--output", str(tmp_path / "runs")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    record = json.loads(next((tmp_path / "runs").glob("*.json")).read_text())
    assert record["examples"]["yy"] == {"train": 0, "dev": 0, "test": 12}
    assert set(record["test"]) == {"xx", "yy"}


def test_unseen_languages_are_tested_and_never_trained_on(tmp_path):
    command = [sys.executable, "-m", "fedprompt_helpers", "run", "--languages", "en,de", "--unseen", "af,lb"]
    command += ["--train-size", "12", "--rounds", "1", "--local-epochs", "1", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    record = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert list(record["test"]) == ["en", "de", "af", "lb"]
    assert list(record["rounds"][0]["dev"]) == ["en", "de"]
    assert record["clients"] == [12, 12]


def test_a_mapping_file_gives_clients_several_languages(tmp_path):
    (tmp_path / "mapping.json").write_text('[["en", "de"], ["cy"]]')
    command = [sys.executable, "-m", "fedprompt_helpers", "run", "--languages", "en,de,cy", "--partition", "mapping"]
    command += ["--mapping", str(tmp_path / "mapping.json"), "--train-size", "12", "--rounds", "1"]
    command += ["--local-epochs", "1", "--output", str(tmp_path / "runs")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    record = json.loads(next((tmp_path / "runs").glob("*.json")).read_text())
    assert record["clients"] == [24, 12]
    assert set(record["test"]) == {"en", "de", "cy"}
