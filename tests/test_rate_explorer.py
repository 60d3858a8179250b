"""The explorer of learning rates without a browser: its curves are those of the training loop."""

import copy
import math

import numpy as np
import pytest

import fedprompt_helpers as fp
from book.widgets import rate_explorer
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model.training import Encoded

RATES = [1e-4, 1e-2]


@pytest.fixture(scope="module")
def model(tiny_backbone):
    return fp.prepare(fp.load_backbone(tiny_backbone, num_labels=3).model, "prompt-tuning")


DATA = Encoded([[0, 5, 2], [0, 9, 7, 2], [0, 11, 2]], np.array([0, 1, 2]))


def by_hand(model, rate, steps):
    """The losses of steps that all examples make together, the last one after the last step."""
    model, data = copy.deepcopy(model), DATA
    history = fp.train(model, data, epochs=steps, learning_rate=rate, batch_size=3)
    return [entry["train_loss"] for entry in history] + [fp.evaluate(model, data).loss]


def test_the_curves_are_those_of_so_many_steps(model):
    before = fp.get_arrays(model)
    widget = rate_explorer(model, DATA, rates=RATES, steps=4)
    for rate, run in zip(RATES, widget.data["runs"], strict=True):
        assert run["losses"] == pytest.approx(by_hand(model, rate, 4), abs=6e-4)
    assert widget.data["chance"] == pytest.approx(math.log(3))
    after = fp.get_arrays(model)
    assert all((before[name] == after[name]).all() for name in before)


def test_the_kernel_trains_at_any_rate_step_by_step_from_the_same_start(model):
    model, seen = copy.deepcopy(model), []
    widget = rate_explorer(model, DATA, rates=RATES, steps=4)
    due = by_hand(model, 0.037, 4)
    fp.set_arrays(model, {name: values + 1 for name, values in fp.get_arrays(model).items()})
    kept = fp.get_arrays(model)
    widget.observe(lambda change: seen.append(change["new"]), "answer")
    widget.ask = {"rate": 0.037}
    assert [len(found["losses"]) for found in seen] == [1, 2, 3, 4, 5, 5]
    assert seen[-1]["losses"] == pytest.approx(due, abs=6e-4) and not seen[-1]["error"]
    assert all((values == kept[name]).all() for name, values in fp.get_arrays(model).items())


def test_a_training_that_breaks_keeps_its_curve_and_says_why(model):
    widget = rate_explorer(model, DATA, rates=[1e-3], steps=4)
    widget.ask = {"rate": 1e38}
    assert "lower the learning rate" in widget.answer["error"] and widget.answer["losses"]


def test_mistakes_are_told(model):
    none, frozen = Encoded([], np.array([], np.int64)), copy.deepcopy(model).requires_grad_(False)
    for error, arguments, options in (
        ("nothing to train on", (model, none), {}),
        ("nothing in this model is trained", (frozen, DATA), {}),
        ("give rates above 0", (model, DATA), {"rates": []}),
        ("give rates above 0", (model, DATA), {"rates": [1e-3, 0]}),
        ("and a step", (model, DATA), {"steps": 0}),
    ):
        with pytest.raises(FedPromptError, match=error):
            rate_explorer(*arguments, **options)
