"""What each method trains, that it learns, and that the backbone stays as it was."""

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from fedprompt_helpers import config
from fedprompt_helpers.data.tasks import load_task, majority_accuracy
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model import backbones as devices
from fedprompt_helpers.model import methods, training
from fedprompt_helpers.model.backbones import load_backbone
from fedprompt_helpers.model.counting import backbone_digest, count_parameters

HIDDEN, LABELS, TOKENS = 384, 12, 8
HEAD = HIDDEN * HIDDEN + HIDDEN + HIDDEN * LABELS + LABELS
EXPECTED = {
    "prompt-tuning": TOKENS * HIDDEN + HEAD,
    # PEFT's PromptEncoder: an embedding, then an MLP with two hidden layers of 128.
    "p-tuning": TOKENS * HIDDEN + (HIDDEN + 1) * 128 + (128 + 1) * 128 + (128 + 1) * HIDDEN + HEAD,
    "prefix-tuning": TOKENS * 2 * 12 * HIDDEN + HEAD,
    "lora": 12 * 2 * 2 * 8 * HIDDEN + HEAD,
    "head": HEAD,
}


@pytest.fixture(scope="module")
def task():
    return load_task("intents", ["cy"], train_size=96)


def ready(method, task, precision="float32", seed=0, name="pocket"):
    dtype = devices.compute_dtype(precision, method)
    model, tokenizer = load_backbone(name, num_labels=len(task.labels), seed=seed, dtype=dtype)
    return methods.prepare(model, method, virtual_tokens=TOKENS, seed=seed), tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("method", EXPECTED)
def test_each_method_trains_just_its_parameters(method, task):
    model, tokenizer = ready(method, task, "auto")
    data = training.encode(task.data["cy"]["train"].select(range(16)), tokenizer)
    arrays, digest = training.get_arrays(model), backbone_digest(model)
    assert count_parameters(model)["trainable"] == EXPECTED[method]
    training.train(model, data, epochs=1, batch_size=8)
    after = training.get_arrays(model)
    assert backbone_digest(model) == digest
    assert all(values.dtype == np.float32 for values in after.values())
    changed = {name for name in arrays if not np.array_equal(arrays[name], after[name])}
    assert any("classifier" in name for name in changed)
    if method != "head":
        assert any("classifier" not in name for name in changed)


@pytest.mark.slow
def test_full_fine_tuning_changes_the_backbone(task, tiny_backbone):
    model, tokenizer = ready("full", task, name=tiny_backbone)
    data = training.encode(task.data["cy"]["train"].select(range(4)), tokenizer)
    weight = model.base_model.encoder.layer[0].attention.self.query.weight
    before = weight.detach().clone()
    training.train(model, data, epochs=1, batch_size=4, learning_rate=1e-4)
    assert not torch.equal(before, weight)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning"])
def test_training_beats_the_majority_class(method, task):
    model, tokenizer = ready(method, task, "auto")
    data, test = (training.encode(task.data["cy"][split], tokenizer) for split in ("train", "test"))
    history = training.train(model, data, epochs=12, batch_size=8, learning_rate=3e-3)
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    assert training.evaluate(model, test).accuracy > majority_accuracy(task.data["cy"]["test"])[1] + 0.2


@pytest.mark.slow
def test_same_seed_same_result_and_another_seed_another(task, tiny_backbone):
    def trained(seed):
        model, tokenizer = ready("p-tuning", task, "auto", seed, name=tiny_backbone)
        data = training.encode(task.data["cy"]["train"].select(range(24)), tokenizer)
        training.train(model, data, epochs=1, batch_size=8, seed=seed)
        return training.get_arrays(model)

    first, second, other = trained(1), trained(1), trained(2)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("patience", [2, None])
def test_the_best_epoch_is_kept_with_and_without_early_stopping(task, patience):
    model, tokenizer = ready("head", task, "auto")
    data, dev = (training.encode(task.data["cy"][split].select(range(24)), tokenizer) for split in ("train", "dev"))
    # A learning rate so high that the dev loss soon rises.
    epochs = 40 if patience else 12
    history = training.train(model, data, dev, epochs=epochs, batch_size=8, learning_rate=0.05, patience=patience)
    losses = [entry["dev_loss"] for entry in history]
    if patience:
        assert len(history) < epochs
        assert len(history) - 1 - int(np.argmin(losses)) == patience
    else:
        assert len(history) == epochs
        assert int(np.argmin(losses)) < epochs - 1
    assert training.evaluate(model, dev).loss == pytest.approx(min(losses), rel=1e-4)


def test_batches_hold_every_example_once_and_little_padding(task, tiny_backbone):
    model, tokenizer = ready("head", task, name=tiny_backbone)
    data = training.encode(task.data["cy"]["train"], tokenizer)
    for rng in (None, np.random.default_rng(0)):
        rows, computed = [], 0
        for batch in training.batches(model, data, 8, rng):
            computed += batch["input_ids"].numel()
            for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
                rows.append((ids[mask.bool()].tolist(), int(label)))
        expected = list(zip(data.token_ids, data.labels.tolist(), strict=True))
        assert sorted(rows) == sorted(expected)
        assert computed < 1.25 * sum(map(len, data.token_ids))


@pytest.mark.slow
def test_arrays_of_another_model_are_refused(task, tiny_backbone):
    model, _ = ready("p-tuning", task, name=tiny_backbone)
    arrays = training.get_arrays(model)
    with pytest.raises(FedPromptError, match="another model"):
        training.set_arrays(model, {name: values[:1] for name, values in arrays.items()})
    with pytest.raises(FedPromptError, match="another model"):
        training.set_arrays(model, {"x": np.zeros(1)})


@pytest.mark.slow
def test_bad_values_name_the_next_step(task, tiny_backbone):
    model, tokenizer = ready("head", task, name=tiny_backbone)
    data = training.encode(task.data["cy"]["train"].select(range(4)), tokenizer)
    empty = training.Encoded([], np.zeros(0, dtype=np.int64))
    with pytest.raises(FedPromptError, match="at least one example"):
        training.train(model, empty, epochs=1)
    with pytest.raises(FedPromptError, match="at least one example"):
        training.evaluate(model, empty)
    with pytest.raises(FedPromptError, match="at least 1"):
        training.train(model, data, epochs=0)
    with pytest.raises(FedPromptError, match="lower the learning rate"):
        training.train(model, data, epochs=30, learning_rate=1e25)
    with pytest.raises(FedPromptError, match="nearest: p-tuning"):
        methods.prepare(model, "ptuning")


@pytest.mark.slow
def test_prompt_tuning_starts_from_words_or_at_random(task):
    model, _ = load_backbone(num_labels=len(task.labels))
    words = {row.numpy().tobytes() for row in model.get_input_embeddings().weight.detach()}
    lengths = {}
    for start in config.CHOICES["prompt_init"]:
        fresh, _ = load_backbone(num_labels=len(task.labels))
        arrays = training.get_arrays(methods.prepare(fresh, "prompt-tuning", prompt_init=start, seed=3))
        prompt = arrays["prompt_encoder.default.embedding.weight"]
        assert all((row.tobytes() in words) == (start == "vocabulary") for row in prompt)
        lengths[start] = np.linalg.norm(prompt, axis=1).mean()
    # Why it matters: PEFT's own start is many times as long as a word, and a long vector turns slowly.
    assert lengths["random"] > 5 * lengths["vocabulary"]
    with pytest.raises(FedPromptError, match="prompt_init"):
        methods.prepare(fresh, "prompt-tuning", prompt_init="words")


@pytest.mark.slow
def test_the_digest_shows_an_encoder_that_nobody_froze(task, tiny_backbone):
    model, tokenizer = ready("p-tuning", task, name=tiny_backbone)
    model.base_model.requires_grad_(True)
    before = backbone_digest(model)
    data = training.encode(task.data["cy"]["train"].select(range(4)), tokenizer)
    training.train(model, data, epochs=1, batch_size=4)
    assert backbone_digest(model) != before


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "lora", "head"])
def test_both_parts_of_a_head_are_trained(method):
    config = DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=99, num_labels=3)
    model = DistilBertForSequenceClassification(config)
    prepared = methods.prepare(model, method)
    ids = torch.arange(12).reshape(2, 6)
    prepared(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 2])).loss.backward()
    trained = {name for name, p in prepared.named_parameters() if p.grad is not None and p.grad.any()}
    assert sum("pre_classifier" in name for name in trained) == 2  # weight and bias
    assert sum(".classifier" in f".{name}" for name in trained) == 2
    with pytest.raises(methods.MethodNotAvailable, match=r"prefix-tuning is not available .* 'distilbert'"):
        methods.prepare(DistilBertForSequenceClassification(config), "prefix-tuning")
