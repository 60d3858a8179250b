"""Parameters counted without weights, and bytes measured on real messages."""

import numpy as np
import pytest
from flwr.app import RecordDict

from fedprompt_helpers import config
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation.messages import (
    message_bytes,
    pack_update,
    round_for_sending,
    to_record,
    unpack_update,
)
from fedprompt_helpers.model import methods
from fedprompt_helpers.model.backbones import load_backbone
from fedprompt_helpers.model.counting import count_parameters, count_without_weights


def test_the_papers_parameter_count_is_explained():
    count = count_without_weights("FacebookAI/xlm-roberta-base", "prompt-tuning", num_labels=10, virtual_tokens=8)
    assert count["trainable"] == 604_426
    assert count["trainable_head_twice"] == 1_202_708
    assert count["total"] == 278_655_764
    full = count_without_weights("FacebookAI/xlm-roberta-base", "full", num_labels=10)
    assert full["total"] == full["trainable"] == 278_051_338


@pytest.mark.slow
@pytest.mark.parametrize("method", config.METHODS)
def test_counting_without_weights_equals_counting_the_loaded_model(method, tiny_backbone):
    model, _ = load_backbone(tiny_backbone, num_labels=12)
    counted = count_parameters(methods.prepare(model, method))
    predicted = count_without_weights(tiny_backbone, method, num_labels=12)
    assert {name: predicted[name] for name in counted} == counted
    assert count_without_weights("pocket", method, num_labels=12)["full_model_bytes"] == 4 * 117_658_764


def test_unknown_backbone_is_refused():
    with pytest.raises(FedPromptError, match=r"a config\.json was expected"):
        count_without_weights("./nowhere", "head", num_labels=2)


def test_a_head_of_one_class_is_refused():
    with pytest.raises(FedPromptError, match=r"num_labels is 1; .*at least 2"):
        count_without_weights("FacebookAI/xlm-roberta-base", "head", num_labels=1)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    received = {"prompt": rng.normal(size=(40, 30)), "head": rng.normal(size=50)}
    received = {name: values.astype(np.float32) for name, values in received.items()}
    trained = {n: x + rng.normal(scale=0.01, size=x.shape).astype(np.float32) for n, x in received.items()}
    return trained, received


@pytest.mark.parametrize(
    ("precision", "bytes_each", "error"), [("float32", 4, 0), ("float16", 2, 1e-5), ("int8", 1, 2e-4)]
)
def test_updates_survive_the_wire_at_their_price(arrays, precision, bytes_each, error):
    trained, received = arrays
    received = round_for_sending(received, precision)
    update = pack_update(trained, received, precision)
    payload = message_bytes(RecordDict({"arrays": to_record(update)}))
    assert bytes_each * 1250 <= payload < bytes_each * 1250 + 2500
    rebuilt = unpack_update(update, received, precision)
    for name in trained:
        assert rebuilt[name].dtype == np.float32
        assert np.abs(rebuilt[name] - trained[name]).max() <= error


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_update_with_nan_is_caught_in_every_precision(arrays, precision):
    trained, received = arrays
    trained["head"][3] = np.nan
    update = pack_update(trained, received, precision)
    with pytest.raises(FedPromptError, match="head with values that are not finite"):
        unpack_update(update, received, precision)
