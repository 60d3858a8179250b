"""A linear head on mean vectors, its start from statistics, and what else the sweeps of the book's evidence need."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model import head_start
from fedprompt_helpers.model.backbones import load_backbone
from fedprompt_helpers.model.methods import prepare
from fedprompt_helpers.model.training import encode, evaluate, get_arrays, predict, set_arrays, train
from fedprompt_helpers.runs import run, simulate

pytestmark = pytest.mark.slow

TINY = {"languages": ("en", "cy", "ga"), "label_budget": 32, "rounds": 2, "local_epochs": 1, "patience": None}


@pytest.fixture(scope="module")
def split():
    return load_task("intents", ["cy"], train_size=40).data["cy"]["train"]


def means(folder, split, prompt=None):
    """Mean token vectors by hand, one text at a time, behind the vectors of a prompt if there is one."""
    model, tokenizer = load_backbone(folder, num_labels=12)
    found = []
    for text in split["text"]:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        vectors = model.base_model.embeddings.word_embeddings(ids)
        first = 0 if prompt is None else len(prompt)
        if prompt is not None:
            vectors = torch.cat([torch.from_numpy(prompt)[None], vectors], dim=1)
        mask = torch.ones(vectors.shape[:2], dtype=torch.long)
        with torch.no_grad():
            out = model.base_model(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
        found.append(out[0, first:].mean(0).numpy())
    return np.stack(found)


@pytest.mark.parametrize("method", ["head", "prompt-tuning"])
def test_the_head_reads_the_mean_of_the_texts_vectors_alone(method, split, tiny_backbone):
    model, tokenizer = load_backbone(tiny_backbone, num_labels=12, pooling="mean")
    model = prepare(model, method, virtual_tokens=4)
    arrays = get_arrays(model)
    weight = next(name for name in arrays if name.endswith("out_proj.weight"))
    arrays[weight] = np.random.default_rng(0).normal(size=arrays[weight].shape).astype(np.float32)
    set_arrays(model, arrays)
    prompt = next((values for name, values in arrays.items() if "prompt" in name), None)
    expected = means(tiny_backbone, split, prompt) @ arrays[weight].T
    data = encode(split, tokenizer)
    for _ in range(2):  # the second time, features are remembered
        assert predict(model, data)[0] == pytest.approx(expected, abs=1e-4)


def test_vectors_of_one_precision_are_not_remembered_for_another(split, tiny_backbone):
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        model, tokenizer = load_backbone(tiny_backbone, num_labels=12, dtype=dtype, pooling="mean")
        model = prepare(model, "head")
        torch.nn.init.normal_(model.classifier.out_proj.weight, generator=torch.Generator().manual_seed(0))
        found[dtype] = predict(model, encode(split, tokenizer))[0]
    assert found[torch.bfloat16] != pytest.approx(found[torch.float32], abs=1e-5)
    assert found[torch.bfloat16] == pytest.approx(found[torch.float32], abs=0.3)


@pytest.mark.parametrize("method", ["head", "p-tuning", "prefix-tuning", "lora", "full"])
def test_every_method_learns_with_a_linear_head(method, split, tiny_backbone):
    model, tokenizer = load_backbone(tiny_backbone, num_labels=12, pooling="mean")
    model, data = prepare(model, method), encode(split, tokenizer)
    before = evaluate(model, data).loss
    assert before == pytest.approx(np.log(12), abs=1e-5)  # it starts at zero
    train(model, data, epochs=3, learning_rate=1e-2)
    assert evaluate(model, data).loss < before - 0.01


def test_ridge_statistics_of_all_clients_give_the_ridge_regression_of_the_pooled_texts(split, tiny_backbone):
    model, tokenizer = load_backbone(tiny_backbone, num_labels=12, pooling="mean")
    model = prepare(model, "head")
    halves = [encode(split.select(range(a, b)), tokenizer) for a, b in ((0, 25), (25, 40))]
    parts = [head_start.statistics(model, half, 12, "ridge") for half in halves]
    made = head_start.start_head(list(get_arrays(model)), parts)
    weight, bias = (next(v for name, v in made.items() if name.endswith(end)) for end in ("weight", "bias"))
    known = Ridge(alpha=head_start.PENALTY).fit(means(tiny_backbone, split), np.eye(12)[split["label"]])
    assert weight == pytest.approx(head_start.SCALE * known.coef_, abs=1e-3)
    assert bias == pytest.approx(head_start.SCALE * known.intercept_, abs=1e-3)


def test_ridge_needs_the_linear_head(split, tiny_backbone):
    model, tokenizer = load_backbone(tiny_backbone, num_labels=12)
    model = prepare(model, "head")
    total = head_start.statistics(model, encode(split, tokenizer), 12, "ridge")
    with pytest.raises(FedPromptError, match="take pooling='mean', or leave head_start at 'random'"):
        head_start.start_head(list(get_arrays(model)), [total])


@pytest.mark.slow
@pytest.mark.parametrize("start", ["ridge", "prototypes"])
def test_one_message_and_no_round_equals_pooling_and_beats_the_majority_class(start, tmp_path):
    fields = TINY | {"method": "head", "pooling": "mean", "head_start": start, "rounds": 0, "label_budget": 96}
    records = [
        json.loads(run(RunConfig(**fields, setting=x), tmp_path).read_text()) for x in ("federated", "centralised")
    ]
    one, pooled = (record["mean_test"]["accuracy"] for record in records)
    assert one == pytest.approx(pooled, abs=0.01)
    assert one > np.mean(list(records[0]["majority"].values())) + 0.15
    assert records[0]["rounds"] == [] and records[0]["best_round"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("local", "sent"), [("prompt", "classifier"), ("head", "prompt_encoder")])
def test_what_is_local_is_never_sent(local, sent, tiny_backbone, tmp_path):
    outcome = simulate(RunConfig(**TINY, backbone=tiny_backbone, **{local: "local"}))
    assert outcome.arrays and all(sent in name for name in outcome.arrays)
    again = simulate(RunConfig(**TINY, backbone=tiny_backbone, **{local: "local"}), folder=tmp_path / "kept")
    assert again.test == outcome.test


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["federated", "local", "centralised"])
def test_without_a_dev_split_the_last_epoch_is_kept(setting, tiny_backbone, tmp_path):
    config = RunConfig(**TINY | {"dev_share": 0.0}, backbone=tiny_backbone, setting=setting)
    record = json.loads(run(config, tmp_path).read_text())
    assert {sizes["train"] for sizes in record["examples"].values()} == {32}
    if setting == "federated":
        assert record["best_round"] == len(record["rounds"]) == 2 and record["rounds"][0]["dev"] == {}
    else:
        assert all(len(epochs) == 2 and "dev_loss" not in epochs[0] for epochs in record["epochs"].values())


@pytest.mark.slow
def test_the_record_holds_guesses_from_which_its_scores_follow(tiny_backbone, tmp_path):
    record = json.loads(run(RunConfig(**TINY, backbone=tiny_backbone), tmp_path).read_text())
    for name, scores in record["test"].items():
        kept = {key: np.array([int(x, 36) for x in text]) for key, text in record["predictions"][name].items()}
        assert (kept["guesses"] == kept["truth"]).mean() == pytest.approx(scores["accuracy"])
        assert (kept["own_guesses"] == kept["truth"]).mean() == pytest.approx(scores["own_accuracy"])
        own = [record["labels"].index(label) for label in record["label_sets"][name]]
        assert set(kept["own_guesses"]) <= set(own)
    assert set(record["source_digest"]) == set(record["test"])
