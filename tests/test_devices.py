"""Where is computed and in which data type; on a graphics card, that it is used and computes the same."""

import pytest
import torch

from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model import methods, training
from fedprompt_helpers.model.backbones import choose_device, compute_dtype, load_backbone

CPU, NONE = torch.device("cpu"), {"avx2": True, "avx512_bf16": False}


@pytest.fixture
def machine(monkeypatch):
    """Make a machine with or without a card, Apple's processor, and bfloat16 on its own."""

    def make(cuda=False, mps=False, capabilities=NONE, card=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: card)

    return make


def test_a_card_does_not_make_the_processor_multiply_bfloat16(machine):
    machine(cuda=True, card=True)
    assert compute_dtype("auto", "p-tuning", CPU) == compute_dtype("auto", "p-tuning") == torch.float32
    assert compute_dtype("auto", "p-tuning", torch.device("cuda")) == torch.bfloat16
    assert compute_dtype("bfloat16", "p-tuning", CPU) == torch.bfloat16


def test_auto_takes_bfloat16_where_that_device_has_it_and_never_for_full_fine_tuning(machine):
    machine(cuda=True, mps=True, capabilities={"amx_bf16": True})
    found = {kind: compute_dtype("auto", "lora", torch.device(kind)) for kind in ("cpu", "cuda", "mps")}
    assert found == {"cpu": torch.bfloat16, "cuda": torch.float32, "mps": torch.float32}
    assert compute_dtype("auto", "full", CPU) == compute_dtype("bfloat16", "full", CPU) == torch.float32
    assert compute_dtype("float32", "lora", CPU) == torch.float32
    with pytest.raises(FedPromptError, match="unknown precision 'half'"):
        compute_dtype("half")


@pytest.mark.parametrize(
    ("here", "chosen"), [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": True}, "cuda"), ({"cuda": 1, "mps": 1}, "cuda")]
)
def test_auto_takes_the_card_then_apples_then_the_processor(machine, here, chosen):
    machine(**here)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == CPU


def test_a_device_that_is_not_here_says_what_is(machine):
    machine()
    with pytest.raises(FedPromptError, match=r"'cuda' is not here: PyTorch \S+ finds cpu; leave --device out"):
        choose_device("cuda")
    machine(cuda=True)
    with pytest.raises(FedPromptError, match=r"'mps' is not here: PyTorch \S+ finds cuda, cpu;"):
        choose_device("mps")
    with pytest.raises(FedPromptError, match=r"unknown device 'gpu'; .*available: auto, cpu, cuda, mps"):
        choose_device("gpu")


def trained(backbone: str, method: str, device: str):
    """Train a small random model on a device; give it, its history and its scores."""
    task = load_task("intents", ["cy"], train_size=48)
    model, tokenizer = load_backbone(backbone, num_labels=len(task.labels))
    model = methods.prepare(model, method, virtual_tokens=4).to(choose_device(device))
    data = training.encode(task.data["cy"]["train"], tokenizer)
    history = training.train(model, data, data, epochs=3, batch_size=8, learning_rate=1e-2, proximal_mu=0.1)
    return model, data, history, training.evaluate(model, data)


@pytest.mark.slow
def test_the_same_on_the_processor_twice(tiny_backbone):
    (_, _, one, scores), (_, _, other, again) = (trained(tiny_backbone, "p-tuning", "cpu") for _ in range(2))
    assert [entry["dev_loss"] for entry in one] == [entry["dev_loss"] for entry in other]
    assert scores == again


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "prefix-tuning", "lora", "head", "full"])
def test_the_card_is_used_and_computes_the_same(tiny_backbone, method):
    model, data, card, scores = trained(tiny_backbone, method, "cuda")
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    assert model.device.type == "cuda"
    for batch in training.batches(model, data, 8):
        assert {values.device.type for values in batch.values()} == {"cuda"}
    assert all(values.device.type == "cpu" for values in map(torch.from_numpy, training.get_arrays(model).values()))
    _, _, here, expected = trained(tiny_backbone, method, "cpu")
    for one, other in zip(card, here, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-2)
        assert one["dev_loss"] == pytest.approx(other["dev_loss"], abs=1e-2)
    assert scores.loss == pytest.approx(expected.loss, abs=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_arrays_travel_between_the_card_and_the_processor(tiny_backbone):
    model, data, _, scores = trained(tiny_backbone, "p-tuning", "cuda")
    other, _ = load_backbone(tiny_backbone, num_labels=12)
    other = methods.prepare(other, "p-tuning", virtual_tokens=4)
    training.set_arrays(other, training.get_arrays(model))
    assert training.evaluate(other, data).loss == pytest.approx(scores.loss, abs=1e-2)
