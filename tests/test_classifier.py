"""The classifier without a browser: its bars are the model's probabilities, stored and asked for."""

import copy

import numpy as np
import pytest

import fedprompt_helpers as fp
from book.widgets import classifier
from fedprompt_helpers.adapters import Adapter
from fedprompt_helpers.clients import Frozen
from fedprompt_helpers.errors import FedPromptError
from tests.pages import Page

TEXTS = ["golau", "chwaraea'r gân nesaf", "</script><img src=x>"]
LABELS = ("TurnOn", "TurnOff", "<i>")


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    model, tokenizer = fp.load_backbone(tiny_backbone, num_labels=3, pooling="mean")
    return fp.prepare(model, "prompt-tuning"), tokenizer


def drawn(model):
    """Trained numbers that tell texts apart."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=one.shape).astype("float32") for name, one in fp.get_arrays(model).items()}


@pytest.fixture
def adapter(backbone):
    model, tokenizer = copy.deepcopy(backbone[0]), backbone[1]
    arrays = drawn(model)
    return Adapter(Frozen(model, tokenizer, {}, 8, ()), arrays, LABELS, {}, False)


@pytest.mark.slow
def test_the_bars_are_what_classify_says(adapter):
    widget = classifier(adapter, TEXTS)
    assert widget.data["texts"][0]["shares"] != widget.data["texts"][1]["shares"]
    for text, guess in zip(TEXTS, fp.classify(adapter, TEXTS), strict=True):
        widget.ask = {"text": text}
        found = widget.answer
        assert found["shares"] == widget.data["texts"][TEXTS.index(text)]["shares"]
        assert sum(found["shares"]) == pytest.approx(1, abs=1e-3) and max(found["shares"]) == pytest.approx(
            guess.probability, abs=1e-4
        )
        assert LABELS[found["shares"].index(max(found["shares"]))] == guess.label


def test_another_run_of_the_same_model_changes_nothing(adapter):
    widget = classifier(adapter, TEXTS)
    fp.set_arrays(adapter.frozen.model, {name: -values for name, values in adapter.arrays.items()})
    widget.ask = {"text": TEXTS[0]}
    assert widget.answer["shares"] == widget.data["texts"][0]["shares"]


def test_a_model_in_training_follows_its_training(backbone):
    model, tokenizer = copy.deepcopy(backbone[0]), backbone[1]
    widget = classifier(model, TEXTS, tokenizer=tokenizer, labels=LABELS)
    fp.set_arrays(model, drawn(model))
    model.train()
    widget.ask = {"text": TEXTS[0]}
    assert widget.answer["shares"] != widget.data["texts"][0]["shares"] and model.training


def test_a_long_text_is_cut_and_that_is_said(adapter):
    widget = classifier(adapter, TEXTS)
    widget.ask = {"text": "golau " * 30}
    assert widget.answer["cut"] == 8 and widget.data["texts"][0]["cut"] == 0


def test_texts_and_labels_cannot_become_markup(adapter):
    found = Page(classifier(adapter, TEXTS).html)
    assert "img" not in [tag for tag, _ in found.tags]
    assert found.payload()["labels"] == list(LABELS) and found.payload()["texts"][2]["text"] == TEXTS[2]


def test_mistakes_are_told(adapter, backbone):
    model, tokenizer = backbone
    for error, arguments in {
        "no text to classify": (adapter, []),
        "a text is empty": (adapter, ["golau", " "]),
        "pairs of texts": (adapter._replace(pairs=True), TEXTS),
        "0 labels and no tokenizer for 3 classes": (model, TEXTS),
    }.items():
        with pytest.raises(FedPromptError, match=error):
            classifier(*arguments)
    with pytest.raises(FedPromptError, match="2 labels and a tokenizer for 3 classes"):
        classifier(model, TEXTS, tokenizer=tokenizer, labels=LABELS[:2])
    widget = classifier(adapter, TEXTS)
    widget.ask = {"text": " "}
    assert widget.answer["error"] == "a text is empty; write at least one word"
