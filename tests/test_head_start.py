"""A head that starts from class means: what is sent, what it knows before training, and when it is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from flwr.app import MessageType
from transformers import BertConfig, BertForSequenceClassification

from fedprompt_helpers import head_start, tuning
from fedprompt_helpers.clients import load_clients
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.experiments import load_record, run
from fedprompt_helpers.federation import from_record, simulate, to_record
from fedprompt_helpers.results import costs
from fedprompt_helpers.tasks import majority_accuracy

CONFIG = RunConfig(languages=("en", "cy", "ga"), train_size=24, rounds=1, local_epochs=1, head_start="prototypes")


@pytest.fixture(scope="module")
def clients():
    return load_clients(CONFIG)


def sums_of(clients, data):
    tuning.load_arrays(clients.model, clients.initial)
    return head_start.statistics(clients.model, data, len(clients.task.labels))


def test_sums_of_clients_add_up_to_those_of_the_pooled_examples(clients):
    added = head_start.add_up([sums_of(clients, part) for part in clients.train])
    pooled = sums_of(clients, tuning.join(clients.train))
    assert added["counts"].tolist() == np.bincount(tuning.join(clients.train).labels, minlength=12).tolist()
    for name in pooled:
        # Batches differ, and with them the rounding of bfloat16.
        np.testing.assert_allclose(added[name], pooled[name], rtol=0.02, atol=0.05)


def test_the_head_gives_an_example_to_the_nearest_class_mean(clients):
    total = sums_of(clients, tuning.join(clients.train))
    head = head_start.prototype_head(list(clients.initial), total)
    tuning.load_arrays(clients.model, clients.initial | head)
    features = np.random.default_rng(0).normal(0.15, 0.06, (5, 1, 384)).astype(np.float32)
    with torch.inference_mode():
        logits = clients.model.classifier(torch.from_numpy(features)).numpy()
    mean = total["sums"].sum(0) / total["counts"].sum()
    spread = np.sqrt(total["squares"] / total["counts"].sum() - mean**2)
    seen = np.tanh(head_start.SPREAD * (features[:, 0] - mean) / spread)
    means = np.tanh(head_start.SPREAD * (total["sums"] / np.maximum(total["counts"], 1)[:, None] - mean) / spread)
    means[total["counts"] == 0] = 0
    distance = ((seen[:, None] - means[None]) ** 2).sum(-1)
    prior = np.log((total["counts"] + 1) / (total["counts"].sum() + 12))
    expected = prior - head_start.SHARPNESS / 2 * distance
    # Up to what all classes of an example share.
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=1e-3)


def test_it_beats_the_majority_class_before_any_training(clients):
    head = head_start.prototype_head(list(clients.initial), sums_of(clients, tuning.join(clients.train)))
    tuning.load_arrays(clients.model, clients.initial | head)
    for name, data in clients.test.items():
        assert (
            tuning.evaluate(clients.model, data).accuracy > majority_accuracy(clients.task.data[name]["test"])[1] + 0.2
        )


@pytest.mark.parametrize("setting", ["federated", "local", "centralised"])
def test_one_epoch_gets_further_than_from_a_random_head(setting, tmp_path):
    config = dataclasses.replace(CONFIG, setting=setting)
    record = load_record(run(config, tmp_path))
    plain = load_record(run(dataclasses.replace(config, head_start="random"), tmp_path))
    assert record["mean_test"]["accuracy"] > plain["mean_test"]["accuracy"] + 0.1
    if setting == "federated":
        update = record["rounds"][0]["bytes"]["train_up"]
        assert 3 * 4 * (12 * 384) < record["start"]["bytes"]["statistics_up"] < update / 10
        assert "start" not in plain
        sent = sum(entry["bytes"][way] for entry in record["rounds"] for way in entry["bytes"])
        paid = costs(record, target=0.0)  # reached after the first round
        assert paid["megabytes"] == pytest.approx((sent + sum(record["start"]["bytes"].values())) / 1e6)
        first = sum(record["rounds"][0]["bytes"].values()) + sum(record["start"]["bytes"].values())
        assert paid["megabytes_to_target"] == pytest.approx(first / 1e6)


def test_the_start_goes_on_without_a_client_that_sends_nonsense():
    def nonsense(message, context, call_next):
        reply = call_next(message, context)
        if (
            message.metadata.message_type == f"{MessageType.QUERY}.statistics"
            and context.node_config["partition-id"] == 2
        ):
            arrays = from_record(reply.content["arrays"])
            reply.content["arrays"] = to_record(arrays | {"sums": np.full_like(arrays["sums"], np.nan)})
        return reply

    outcome = simulate(CONFIG, mods=[nonsense])
    assert outcome.start["failed"] == [{"client": 2, "why": "sent class sums that are not sound"}]
    assert np.isfinite(outcome.rounds[0]["dev_loss"])


def test_another_head_than_robertas_is_refused():
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, vocab_size=99, num_labels=3
    )
    model = tuning.prepare(BertForSequenceClassification(config), "head")
    total = {"sums": np.ones((3, 32)), "squares": np.ones(32), "counts": np.ones(3)}
    with pytest.raises(FedPromptError, match="knows the head of RoBERTa"):
        head_start.prototype_head(list(tuning.trainable_arrays(model)), total)


def test_a_shared_start_for_local_heads_is_refused():
    with pytest.raises(FedPromptError, match="head_start='prototypes' makes a shared head"):
        RunConfig(head="local", head_start="prototypes")
