"""The fast forward and backward pass of frozen layers, held against the layers as Transformers wrote them."""

import copy
import pickle

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, BertModel

from fedprompt_helpers import frozen_layers, tuning
from fedprompt_helpers.accounting import backbone_digest
from fedprompt_helpers.backbones import load_backbone
from fedprompt_helpers.frozen_layers import speed_up
from tests.sentences import ALL

LABELS, TOKENS = 5, 4
FAST = tuple(frozen_layers.FASTER.values())


def backbone(dtype=torch.float32):
    return load_backbone(num_labels=LABELS, dtype=dtype)


def slow(method, dtype=torch.float32):
    """Prepare a model and put the layers back as Transformers wrote them."""
    model = tuning.prepare(backbone(dtype).model, method, virtual_tokens=TOKENS)
    for module in model.modules():
        if isinstance(module, FAST):
            module.__class__ = type(module).__mro__[2]
        module._forward_pre_hooks = type(module._forward_pre_hooks)(
            (key, hook) for key, hook in module._forward_pre_hooks.items() if hook is not frozen_layers._before
        )
    return model


def fast(method, dtype=torch.float32):
    return tuning.prepare(backbone(dtype).model, method, virtual_tokens=TOKENS)


def layers(model):
    return next(m for m in model.modules() if hasattr(m, "layer") and hasattr(m, "config")).layer


@pytest.fixture(scope="module")
def batches():
    """Texts of very different lengths, so that much is padded; then sentence pairs; then one text alone."""
    tokenizer = backbone().tokenizer
    long = [" ".join(ALL[:i]) for i in (1, 3, 6)]
    made = [
        tokenizer(ALL[:8] + long, return_tensors="pt", padding=True, truncation=True, max_length=64),
        tokenizer(ALL[:6], ALL[9:15], return_tensors="pt", padding=True),
        tokenizer(ALL[:1], return_tensors="pt"),
    ]
    for batch in made:
        batch["labels"] = torch.arange(len(batch["input_ids"])) % LABELS
    assert (made[0]["attention_mask"] == 0).sum() > 100
    return made


def learn(model, batch):
    """Give logits and the gradients of everything trained."""
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    return output.logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "head"])
def test_same_logits_and_gradients_in_float32(method, batches):
    theirs, ours = slow(method), fast(method)
    assert not any(isinstance(layer, FAST) for layer in layers(theirs))
    assert all(isinstance(layer, FAST) for layer in layers(ours))
    for batch in batches:
        (logits, gradients), (other, others) = learn(theirs, batch), learn(ours, batch)
        torch.testing.assert_close(other, logits, rtol=1e-5, atol=1e-6)
        assert list(gradients) == list(others)
        for name, gradient in gradients.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5 * scale, msg=name)
        with torch.inference_mode():
            torch.testing.assert_close(ours(**batch).logits, logits, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing_and_what_it_holds_is_not_read(batches):
    model = fast("p-tuning")
    short = {name: values[:8] for name, values in batches[0].items()}
    logits, gradients = learn(model, short)
    noise = dict(short, input_ids=torch.where(short["attention_mask"] == 1, short["input_ids"], 99))
    longest = int(short["attention_mask"].sum(1).max())
    cut = {name: values[:, :longest] if values.dim() == 2 else values for name, values in short.items()}
    assert longest < short["input_ids"].shape[1]
    for other in (noise, cut):
        torch.testing.assert_close(learn(model, other)[0], logits, rtol=1e-5, atol=1e-6)
        for name, gradient in learn(model, other)[1].items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-5 * scale, msg=name)
    unmasked = dict(short, attention_mask=torch.ones_like(short["attention_mask"]))
    assert (learn(model, unmasked)[0] - logits).abs().max() > 1e-4


def test_bfloat16_gradients_are_as_near_to_float32_as_without(batches):
    def directions(model):
        found = []
        for batch in batches[:2]:
            for start in range(0, len(batch["labels"]), 3):
                part = {name: values[start : start + 3] for name, values in batch.items()}
                gradients = learn(model, part)[1]
                found.append(torch.cat([g.flatten() for n, g in gradients.items() if "classifier" not in n]))
        return torch.stack(found).double()

    truth = directions(slow("p-tuning"))
    errors = [
        (1 - torch.cosine_similarity(directions(make("p-tuning", torch.bfloat16)), truth)).mean().item()
        for make in (slow, fast)
    ]
    assert 0 < errors[1] < 1.2 * errors[0] < 0.1


def test_layers_give_the_same_for_every_position_when_asked(batches):
    theirs, ours = slow("head"), fast("head")
    batch = {name: values for name, values in batches[1].items() if name != "labels"}
    with torch.inference_mode():
        states, expected = (m.base_model(**batch).last_hidden_state for m in (ours, theirs))
        torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-5)
        for asked in ("output_hidden_states", "output_attentions"):
            found, wanted = (m(**batch, **{asked: True}) for m in (ours, theirs))
            key = asked.removeprefix("output_")
            assert len(found[key]) == len(wanted[key])
            for one, other in zip(found[key], wanted[key], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_last_layer_computes_position_0_alone_for_the_head(batches):
    model, seen = fast("p-tuning"), []
    compute = frozen_layers._compute
    frozen_layers._compute = lambda *given: seen.append(compute(*given)[0].shape[1]) or compute(*given)
    try:
        model(**batches[1])
        length = TOKENS + batches[1]["input_ids"].shape[1]
        assert seen == [length] * 11 + [1]
        with pytest.raises(TypeError):
            model(**batches[1], labels_of_another_kind=1, input_ids=None)
        with pytest.raises(IndexError):  # a forward pass that fails leaves no layer cut short
            model(input_ids=torch.tensor([[10**9]]))
        seen.clear()
        model.get_base_model().base_model(**{k: v for k, v in batches[1].items() if k != "labels"})
        assert seen == [length - TOKENS] * 12
    finally:
        frozen_layers._compute = compute


@pytest.mark.parametrize("place", ["attention.self", ""])
def test_hooks_on_a_layer_or_its_parts_see_every_position(place, batches):
    model, seen = fast("p-tuning"), []
    logits = learn(model, batches[0])[0]
    part = layers(model)[-1].get_submodule(place)
    part.register_forward_hook(lambda *given: seen.append(given[2][0].shape if place else given[2].shape))
    torch.testing.assert_close(learn(model, batches[0])[0], logits, rtol=1e-5, atol=1e-6)
    rows, length = batches[0]["input_ids"].shape
    assert seen == [(rows, length + TOKENS, 384)]


def test_weights_keep_names_bits_and_memory():
    model = backbone().model
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    digest, names = backbone_digest(model), list(model.state_dict())
    places = [p.data_ptr() for p in model.parameters()]
    speed_up(speed_up(model))
    assert (backbone_digest(model), list(model.state_dict())) == (digest, names)
    assert [p.data_ptr() for p in model.parameters()] == places
    assert len(model._forward_pre_hooks) == len(model._forward_hooks) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_pickles_and_saved_models_compute_the_same(dtype, batches, tmp_path):
    model = backbone(dtype).model
    speed_up(model.requires_grad_(False))
    logits = model(**batches[1]).logits
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager", dtype=dtype)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.02}
    assert not any(isinstance(layer, FAST) for layer in layers(loaded))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded.eval()):
        torch.testing.assert_close(other(**batches[1]).logits, logits, **near)
    twin = copy.deepcopy(model)
    layers(twin)[3].output.dense.weight.data.zero_()  # a copy stands for itself
    assert (twin(**batches[1]).logits - logits).abs().max() > 1e-5
    torch.testing.assert_close(model(**batches[1]).logits, logits)
    with torch.no_grad():  # a weight that changes after it was used counts as it is now
        layers(model)[3].output.dense.weight.zero_()
    torch.testing.assert_close(model(**batches[1]).logits, twin(**batches[1]).logits)


@pytest.mark.parametrize("method", ["lora", "prefix-tuning", "full"])
def test_methods_that_change_the_layers_are_left_alone(method, batches, monkeypatch):
    model = tuning.prepare(backbone().model, method, virtual_tokens=TOKENS)
    assert not any(isinstance(layer, FAST) for layer in layers(model))
    logits, gradients = learn(model, batches[0])
    monkeypatch.setattr(frozen_layers, "_compute", None)  # would fail if it were used
    other, others = learn(speed_up(model), batches[0])
    torch.testing.assert_close(other, logits, rtol=0, atol=0)
    assert all(torch.equal(others[name], gradients[name]) for name in gradients)


def test_a_layer_unfrozen_later_learns(batches):
    model = fast("p-tuning")
    weight = layers(model)[5].attention.self.key.weight.requires_grad_(True)
    learn(model, batches[0])
    assert weight.grad.abs().max() > 0


def test_dropout_and_autocast_compute_as_before(batches, monkeypatch):
    theirs, ours = slow("p-tuning"), fast("p-tuning")
    for model in (theirs, ours):
        model.train()
    assert layers(ours)[0].attention.self.dropout.p > 0
    found = []
    for model in (theirs, ours, ours):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(len(found) // 2)
            found.append(model(**batches[0]).logits)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert not torch.equal(found[2], found[1])
    monkeypatch.setattr(frozen_layers, "_compute", None)
    with torch.autocast("cpu", torch.bfloat16):
        both = [model.eval()(**batches[0]).logits for model in (theirs, ours)]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=0)


def small_bert(attention):
    return BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        num_labels=3,
        attn_implementation=attention,
    )


def test_bert_gets_fast_layers_and_keeps_every_position():
    config = small_bert("eager")
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval().requires_grad_(False)
    twin = speed_up(copy.deepcopy(model))
    assert all(isinstance(layer, FAST) for layer in twin.bert.encoder.layer)
    vectors = torch.randn(4, 9, 32)
    mask = (torch.arange(9) < torch.tensor([9, 5, 2, 7])[:, None]).long()
    found = []
    for one in (model, twin):
        inputs = vectors.clone().requires_grad_(True)
        logits = one(inputs_embeds=inputs, attention_mask=mask).logits
        logits.square().sum().backward()
        found.append((logits, inputs.grad, one.bert(inputs_embeds=inputs, attention_mask=mask).last_hidden_state))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_other_architectures_and_attentions_are_left_alone(monkeypatch):
    other = torch.nn.TransformerEncoderLayer(16, 2).requires_grad_(False)
    assert type(speed_up(other)) is torch.nn.TransformerEncoderLayer
    model = speed_up(BertModel(small_bert("sdpa")).eval().requires_grad_(False))
    monkeypatch.setattr(frozen_layers, "_compute", None)
    assert model(torch.arange(8)[None]).last_hidden_state.shape == (1, 8, 32)
