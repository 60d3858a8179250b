"""A head that starts from class means: what is sent, what it knows before training, and when it is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from flwr.app import MessageType, RecordDict
from flwr.clientapp import ClientApp
from transformers import BertConfig, BertForSequenceClassification

from book.research.results import costs
from fedprompt_helpers.clients import model, nodes, part, texts
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.tasks import load_task, majority_accuracy
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation.client import client_app
from fedprompt_helpers.federation.grid import run_here
from fedprompt_helpers.federation.messages import from_record, to_record
from fedprompt_helpers.model import head_start, methods, training
from fedprompt_helpers.records import load_record
from fedprompt_helpers.runs import run, server_app

pytestmark = pytest.mark.slow

CONFIG = RunConfig(languages=("en", "cy", "ga"), train_size=24, rounds=1, local_epochs=1, head_start="prototypes")


@pytest.fixture(scope="module")
def clients():
    labels = load_task("intents", ["en"]).labels
    parts, frozen = [part(CONFIG, i, labels) for i in range(3)], model(CONFIG, labels)
    test = {name: data for each in parts for name, data in each.test.items()}
    data = {name: rows for i in range(3) for name, rows in texts(CONFIG, i, labels)[0].data.items()}
    held = {"train": [each.train for each in parts], "test": test, "data": data, "labels": labels}
    return SimpleNamespace(model=frozen.model, initial=frozen.initial, **held)


def sums_of(clients, data):
    training.set_arrays(clients.model, clients.initial)
    return head_start.statistics(clients.model, data, len(clients.labels))


@pytest.mark.slow
def test_sums_of_clients_add_up_to_those_of_the_pooled_examples(clients):
    parts, pooled = [sums_of(clients, part) for part in clients.train], sums_of(clients, training.join(clients.train))
    assert pooled["counts"].tolist() == np.bincount(training.join(clients.train).labels, minlength=12).tolist()
    added, made = (head_start.start_head(list(clients.initial), one) for one in (parts, [pooled]))
    for name in made:
        # Batches differ, and with them the rounding of bfloat16.
        np.testing.assert_allclose(added[name], made[name], rtol=0.02, atol=0.05)


@pytest.mark.slow
def test_the_head_gives_an_example_to_the_nearest_class_mean(clients):
    total = sums_of(clients, training.join(clients.train))
    head = head_start.start_head(list(clients.initial), [total])
    training.set_arrays(clients.model, clients.initial | head)
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


@pytest.mark.slow
def test_it_beats_the_majority_class_before_any_training(clients):
    head = head_start.start_head(list(clients.initial), [sums_of(clients, training.join(clients.train))])
    training.set_arrays(clients.model, clients.initial | head)
    for name, data in clients.test.items():
        assert training.evaluate(clients.model, data).accuracy > majority_accuracy(clients.data[name]["test"])[1] + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["federated", "local", "centralised"])
def test_one_epoch_gets_further_than_from_a_random_head(setting, tmp_path):
    config = CONFIG.replace(setting=setting)
    record = load_record(run(config, tmp_path))
    plain = load_record(run(config.replace(head_start="random"), tmp_path))
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


nonsense = ClientApp()


def answer(message, context):
    reply = client_app(message, context)
    asked = message.metadata.message_type == f"{MessageType.QUERY}.statistics"
    if asked and context.node_config["partition-id"] == 2:
        arrays = from_record(reply.content["arrays"])
        reply.content = RecordDict({"arrays": to_record(arrays | {"sums": np.full_like(arrays["sums"], np.nan)})})
    return reply


for action in (
    nonsense.query(),
    nonsense.query("about"),
    nonsense.query("statistics"),
    nonsense.train(),
    nonsense.evaluate(),
):
    action(answer)


@pytest.mark.slow
def test_the_start_goes_on_without_a_client_that_sends_nonsense():
    state = run_here(server_app, nonsense, nodes(CONFIG), run_config=CONFIG.to_text()).state
    outcome = json.loads(state["outcome"]["facts"])
    assert outcome["start"]["failed"] == [{"client": 2, "why": "sent sums with values that are not finite numbers"}]
    assert np.isfinite(outcome["rounds"][0]["dev_loss"])


def test_another_head_than_robertas_is_refused():
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, vocab_size=99, num_labels=3
    )
    model = methods.prepare(BertForSequenceClassification(config), "head")
    total = {"sums": np.ones((3, 32)), "squares": np.ones(32), "counts": np.ones(3)}
    with pytest.raises(FedPromptError, match="knows the head of RoBERTa"):
        head_start.start_head(list(training.get_arrays(model)), [total])


def test_a_shared_start_for_local_heads_is_refused():
    with pytest.raises(FedPromptError, match="head_start is 'prototypes', but the head is 'local'"):
        RunConfig(head="local", head_start="prototypes")
