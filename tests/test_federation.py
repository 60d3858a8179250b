"""The federation: real Flower, real processes, real data, few examples."""

import multiprocessing
import sys

import numpy as np
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedprompt_helpers.clients import derive_seed, model, part, scored_by, texts
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation.client import client_app
from fedprompt_helpers.federation.grid import ProcessGrid
from fedprompt_helpers.federation.messages import from_record, to_record
from fedprompt_helpers.model import training
from fedprompt_helpers.model.counting import backbone_digest
from fedprompt_helpers.runs import server_app, simulate
from tests import apps

pytestmark = pytest.mark.slow
LABELS = load_task("intents", ["en"]).labels
CONFIG = RunConfig(languages=("en", "cy", "ga"), train_size=24, rounds=3, local_epochs=4, learning_rate=3e-3)
SMALL = {"train_size": 12, "dev_size": 12, "rounds": 1, "local_epochs": 1}


@pytest.fixture(scope="module")
def outcome():
    return simulate(CONFIG)


def test_it_learns_over_the_rounds(outcome):
    losses = [entry["dev_loss"] for entry in outcome.rounds]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.2
    assert np.mean([scores["accuracy"] for scores in outcome.test.values()]) > 0.35  # 12 classes


def test_every_language_is_scored_on_its_whole_test_split(outcome):
    task = load_task("intents", CONFIG.data.languages)
    assert list(outcome.test) == list(task.languages)
    for name, scores in outcome.test.items():
        assert scores["examples"] == len(task.data[name]["test"])


def test_only_what_is_trained_travels(outcome):
    trainable = sum(p.numel() for p in model(CONFIG, LABELS).model.parameters() if p.requires_grad)
    assert outcome.message_parameters == trainable
    names = set(outcome.arrays)
    assert any("prompt_encoder" in name for name in names)
    assert any("classifier.modules_to_save" in name for name in names)  # the head travels too
    assert not any("roberta" in name for name in names)
    for entry in outcome.rounds:
        for way in ("train_down", "train_up"):
            assert 3 * 4 * trainable < entry["bytes"][way] < 3 * 4 * trainable * 1.03


def test_the_backbone_is_bit_identical_in_every_process(outcome):
    assert len(outcome.client_digests) == 4  # the server's and three clients'
    assert set(outcome.client_digests) == {backbone_digest(model(CONFIG, LABELS).model)}


def test_the_same_seed_gives_the_same_federation_and_another_another(tiny_backbone):
    config = CONFIG.replace(backbone=tiny_backbone)
    once, again, other = (simulate(each) for each in (config, config, config.replace(seed=1)))
    assert again.test == once.test != other.test
    assert all(np.array_equal(again.arrays[name], once.arrays[name]) for name in once.arrays)
    assert not all(np.array_equal(other.arrays[name], once.arrays[name]) for name in once.arrays)


def test_fedavg_by_hand_equals_flowers():
    rng = np.random.default_rng(0)
    arrays = [{"a": rng.normal(size=(4, 3)).astype(np.float32)} for _ in range(3)]
    examples = [10, 30, 60]
    ProcessGrid(client_app, 1, workers=0)  # tells Flower who is sending
    replies = []
    for sent, n in zip(arrays, examples, strict=True):
        asked = Message(RecordDict({}), dst_node_id=1, message_type="train")
        metrics = MetricRecord({"num-examples": n})
        replies.append(Message(RecordDict({"arrays": to_record(sent), "metrics": metrics}), reply_to=asked))
    averaged, _ = FedAvg().aggregate_train(1, replies)
    by_hand = sum(n * a["a"] for a, n in zip(arrays, examples, strict=True)) / 100
    np.testing.assert_allclose(from_record(averaged)["a"], by_hand, rtol=1e-6)


def test_the_two_apps_run_on_a_grid_as_flower_calls_them(tiny_backbone):
    config = RunConfig(**SMALL | {"languages": ("en", "cy", "ga"), "rounds": 2, "backbone": tiny_backbone})
    outcome, grid = simulate(config), ProcessGrid(client_app, 3, run_config=config.to_text())
    try:
        context = Context(1, 0, {}, RecordDict(), config.to_text())
        server_app(grid, context)
    finally:
        grid.close()
    assert '"best_round": ' + str(outcome.best_round) in context.state["outcome"]["facts"]
    again = from_record(context.state["arrays"])
    assert all(np.array_equal(again[name], outcome.arrays[name]) for name in again)


def test_a_round_equals_the_same_steps_in_a_plain_loop(tiny_backbone):
    """One client, one round: the federation does what training alone does."""
    sizes = {"train_size": 16, "rounds": 1, "local_epochs": 1}
    config = RunConfig(languages=("cy",), precision="float32", backbone=tiny_backbone, **sizes)
    federated = simulate(config).arrays
    frozen, held = model(config, LABELS), part(config, 0, LABELS)
    training.set_arrays(frozen.model, frozen.initial)
    training.train(frozen.model, held.train, epochs=1, batch_size=8, seed=derive_seed(0, 1, 0))
    alone = training.get_arrays(frozen.model)
    for name in alone:
        np.testing.assert_allclose(federated[name], alone[name], atol=2e-4)


def test_spawned_processes_give_what_forked_ones_give(monkeypatch, tiny_backbone):
    """What macOS and Windows do; it also proves that the app travels, mods defined in a test included."""
    config = RunConfig(languages=("en", "cy"), train_size=12, rounds=1, local_epochs=1, backbone=tiny_backbone)
    losses = []

    def mod(message, context, call_next):
        reply = call_next(message, context)
        if message.metadata.message_type == "train":
            reply.content["metrics"]["train-loss"] += 100
        return reply

    def keep(entry):
        losses.append(entry["train_loss"])

    forked = apps.simulate(config, keep, mods=[mod])
    monkeypatch.setenv("FEDPROMPT_START_METHOD", "spawn")
    spawned = apps.simulate(config, keep, mods=[mod])
    assert losses[0] == losses[1] > 100
    assert spawned.test == forked.test
    assert all(np.array_equal(spawned.arrays[name], forked.arrays[name]) for name in forked.arrays)


def test_no_process_is_left_and_ray_is_not_started(outcome):
    assert not multiprocessing.active_children()
    assert "ray" not in sys.modules


def test_a_language_is_scored_by_the_client_that_holds_it(tiny_backbone):
    """It matters where clients keep something of their own: the head, or epochs at the end."""
    mapping = (("en", "ga"), ("cy",))
    config = RunConfig(
        languages=("en", "cy", "ga"),
        partition="mapping",
        mapping=mapping,
        personal_epochs=1,
        backbone=tiny_backbone,
        **SMALL,
    )
    assert [scored_by(config, client) for client in (0, 1)] == [("en", "ga"), ("cy",)]
    assert [list(texts(config, client, LABELS)[0].data) for client in (0, 1)] == [["en", "ga"], ["cy"]]
    assert set(simulate(config).test) == {"en", "cy", "ga"}


@pytest.mark.parametrize(
    "more", [{"partition": "iid"}, {"partition": "dirichlet-label", "alpha": 1.0}, {"clients": 6}, {"unseen": ("de",)}]
)
@pytest.mark.parametrize("own", [{"head": "local"}, {"personal_epochs": 2}, {"aggregation": "fedavg-distance"}])
def test_own_models_are_refused_where_nobody_could_score_them(own, more):
    with pytest.raises(FedPromptError, match=r"one client|unseen"):
        RunConfig(languages=("en", "cy", "ga"), **own, **more)


@pytest.mark.parametrize(
    "more",
    [
        {"aggregation": "fedprox"},
        {"aggregation": "fedavgm"},
        {"aggregation": "fedadam"},
        {"aggregation": "fedmedian"},
        {"aggregation": "krum"},
        {"aggregation": "fedavg-distance"},
        {"update_precision": "float16"},
        {"update_precision": "int8"},
        {"clients": 8},
        {"method": "lora"},
        {"method": "prefix-tuning"},
        {"method": "head"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)
def test_every_strategy_precision_and_method_runs(more, tiny_backbone):
    languages = ("en", "cy", "ga", "de")
    outcome = simulate(RunConfig(**({"languages": languages, "backbone": tiny_backbone} | SMALL | more)))
    assert set(outcome.test) == set(languages)
    assert not outcome.rounds[0]["failed"]
    per_number = {"float16": 2, "int8": 1}.get(more.get("update_precision"), 4)
    for size in outcome.rounds[0]["client_bytes"]["train_up"]:
        assert 0 < size - per_number * outcome.message_parameters < 16_000
    down = 4 if per_number == 4 else 2
    for way in ("train_down", "evaluate_down"):
        for size in outcome.rounds[0]["client_bytes"][way]:
            assert 0 < size - down * outcome.message_parameters < 16_000
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in outcome.arrays.values())
