"""What a federation does with the replies of a round: their order, unsound ones, what is a client's own."""

import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, MessageType, MetricRecord, RecordDict

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation import client as client_side
from fedprompt_helpers.federation.client import client_app
from fedprompt_helpers.federation.grid import ProcessGrid
from fedprompt_helpers.federation.messages import from_record
from fedprompt_helpers.federation.strategies import average_for_each
from fedprompt_helpers.model import training
from tests.apps import simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_backbone):
    sizes = {"train_size": 8, "dev_size": 8, "rounds": 2, "local_epochs": 1, "patience": None}
    return RunConfig(languages=("en", "cy", "ga"), backbone=tiny_backbone, learning_rate=0.01, **sizes)


@pytest.fixture(scope="module")
def plain(config):
    return simulate(config)


def same(one, other):
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def of(client=None, kind=MessageType.TRAIN, rounds=range(99), split=None, spoil=None):
    """A Flower mod that spoils the content of some replies, or raises if nobody says how."""

    def mod(message, context, call_next):
        settings = message.content.get("config", {})
        chosen = message.metadata.message_type == kind and settings.get("server-round") in rounds
        chosen = chosen and client in (None, context.node_config["partition-id"])
        chosen = chosen and split in (None, settings.get("split"))
        if chosen and spoil is None:
            raise RuntimeError("out of memory")
        reply = call_next(message, context)
        if chosen:
            spoil(reply.content)
        return reply

    return mod


class Contrary(ProcessGrid):
    """A grid that names its nodes and gives their replies from the last to the first."""

    def get_node_ids(self):
        return reversed(list(super().get_node_ids()))

    def send_and_receive(self, messages, *, timeout=None):
        replies = super().send_and_receive(messages, timeout=timeout)
        return sorted(replies, key=lambda reply: -reply.metadata.src_node_id)


def without_times(rounds):
    # Seconds differ, and so do a few bytes: Flower's message ids and times are serialized too.
    return [{key: entry[key] for key in ("round", "train_loss", "dev_loss", "dev", "failed")} for entry in rounds]


def test_nothing_depends_on_the_order_of_replies(config, plain):
    from fedprompt_helpers.runs import server_app

    settings = config.to_text()
    grid, context = Contrary(client_app, 3, run_config=settings), Context(1, 0, {}, RecordDict(), settings)
    try:
        server_app(grid, context)
    finally:
        grid.close()
    facts = json.loads(context.state["outcome"]["facts"])
    assert same(from_record(context.state["arrays"]), plain.arrays)
    assert facts["test"] == plain.test and facts["about"] == plain.about
    assert without_times(facts["rounds"]) == without_times(plain.rounds)


def test_bytes_are_counted_for_each_client_and_way(plain):
    for entry in plain.rounds:
        assert set(entry["bytes"]) == {"train_down", "train_up", "evaluate_down", "evaluate_up"}
        assert entry["bytes"] == {way: sum(sizes) for way, sizes in entry["client_bytes"].items()}
        assert all(len(sizes) == 3 and min(sizes) > 0 for sizes in entry["client_bytes"].values())


def replace_arrays(make):
    def spoil(content):
        content["arrays"] = make(content["arrays"])

    return spoil


def first_is(change):
    """Change the first array of a reply."""

    def make(record):
        name = sorted(record)[0]
        return ArrayRecord({**record, name: Array(change(record[name].numpy()))})

    return replace_arrays(make)


def without_scales(record):
    return ArrayRecord({name: array for name, array in record.items() if not name.endswith("#scale")})


UNSOUND = {
    "one array too many": (
        "float32",
        replace_arrays(lambda record: ArrayRecord({**record, "more": Array(np.zeros(3))})),
        "sent other arrays than expected: more",
    ),
    "no arrays at all": ("float32", replace_arrays(lambda record: ArrayRecord({})), "sent other arrays"),
    "text for numbers": ("float32", first_is(lambda array: np.full(array.shape, "many")), "instead of numbers"),
    "one infinite number": ("float32", first_is(lambda array: np.where(array == array.max(), np.inf, array)), "finite"),
    "another kind of record": ("float32", replace_arrays(lambda record: MetricRecord({"loss": 1.0})), "sent no arrays"),
    "metrics of words": (
        "float32",
        lambda content: content.update({"metrics": ConfigRecord({"num-examples": "many"})}),
        "sent no metrics",
    ),
    "no scales": ("int8", replace_arrays(without_scales), "#scale"),
    "a scale too long": (
        "int8",
        replace_arrays(lambda r: ArrayRecord({n: Array(np.ones(7)) if n.endswith("#scale") else r[n] for n in r})),
        "#scale",
    ),
    "a scale that is not finite": (
        "int8",
        replace_arrays(lambda r: ArrayRecord({n: Array(np.full(1, np.nan)) if "#" in n else r[n] for n in r})),
        "not finite",
    ),
}


@pytest.mark.parametrize(("precision", "spoil", "why"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_reply_is_left_out_and_said(precision, spoil, why, config):
    outcome = simulate(config.replace(update_precision=precision, rounds=1), mods=[of(1, spoil=spoil)])
    (failure,) = outcome.rounds[0]["failed"]
    assert failure["client"] == 1 and failure["why"].startswith("sent ") and why in failure["why"]
    assert "\n" not in failure["why"]
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in outcome.arrays.values())


def test_no_client_at_all_stops_the_run_with_one_line(config):
    with pytest.raises(FedPromptError, match=r"round 2: only 0 of 3 clients .* client 2 raised RuntimeError") as said:
        simulate(config.replace(min_share=0.0), mods=[of(rounds=(2,))])
    assert "\n" not in str(said.value)


def test_the_share_decides_how_few_are_enough(config):
    mods = [of(0), of(2)]
    with pytest.raises(FedPromptError, match=r"only 1 of 3 clients sent a sound update, fewer than the share of 0\.5"):
        simulate(config, mods=mods)
    outcome = simulate(config.replace(min_share=0.3), mods=mods)
    assert [[failure["client"] for failure in entry["failed"]] for entry in outcome.rounds] == [[0, 2]] * 2


def test_scores_that_never_come_stop_the_run_and_training_is_not_repeated(config, plain, tmp_path):
    with pytest.raises(FedPromptError, match=r"round 1: no client could score the dev split; client . raised Runtime"):
        simulate(config, mods=[of(kind=MessageType.EVALUATE, split="dev")])
    fails = of(1, kind=MessageType.EVALUATE, split="test")
    with pytest.raises(FedPromptError, match=r"could score the test split of cy; client 1 raised RuntimeError.*kept"):
        simulate(config, mods=[fails], folder=tmp_path)
    seen = []
    again = simulate(config, seen.append, folder=tmp_path, mods=[of()])  # training would raise
    assert [entry.get("resumed") for entry in seen] == [True, True]
    assert again.test == plain.test and same(again.arrays, plain.arrays)


def test_a_client_that_says_nothing_of_a_language_is_named(config):
    def silent(content):
        del content["scores.cy"]

    with pytest.raises(FedPromptError, match="test split of cy; client 1 sent test scores of cy that are missing"):
        simulate(config.replace(rounds=1), mods=[of(1, kind=MessageType.EVALUATE, split="test", spoil=silent)])


def rising_losses(message, context, call_next):
    """A Flower mod: dev losses rise from round to round, as where a model learns its examples by heart."""
    reply = call_next(message, context)
    settings = message.content.get("config", {})
    if settings.get("split") == "dev":
        for key in reply.content:
            if key.startswith("scores."):
                reply.content[key]["loss"] = float(settings["server-round"])
    return reply


@pytest.mark.parametrize(("patience", "epochs", "rounds"), [(2, 1, 3), (3, 2, 3), (4, 2, 3), (None, 1, 5)])
def test_it_stops_after_patience_epochs_without_a_lower_dev_loss(patience, epochs, rounds, config):
    given = config.replace(rounds=5, patience=patience, local_epochs=epochs)
    outcome = simulate(given, mods=[rising_losses])
    assert len(outcome.rounds) == rounds and outcome.best_round == 1


@pytest.mark.parametrize(
    "own",
    [{}, {"head": "local"}, {"aggregation": "fedavg-distance"}, {"personal_epochs": 2}, {"update_precision": "int8"}],
    ids=str,
)
def test_the_best_round_is_tested_with_what_each_client_had_then(own, config):
    """Round 1 was the best of three: the test scores are those of a run that ended there."""
    ended = simulate(config.replace(rounds=1, **own))
    gone_on = simulate(config.replace(rounds=3, **own), mods=[rising_losses])
    assert len(gone_on.rounds) == 3 and gone_on.best_round == 1
    assert gone_on.test == ended.test and same(gone_on.arrays, ended.arrays)


def test_a_local_head_stays_with_its_client(config, plain):
    outcome = simulate(config.replace(head="local"))
    heads = {name for name in plain.arrays if "classifier" in name}
    assert heads and set(outcome.arrays) == set(plain.arrays) - heads
    shared = sum(array.size for name, array in plain.arrays.items() if name not in heads)
    assert outcome.message_parameters == shared < plain.message_parameters
    assert outcome.test != plain.test


def test_personal_epochs_change_the_test_alone_and_only_for_the_better(config, plain, monkeypatch):
    personal = simulate(config.replace(personal_epochs=3))
    assert without_times(personal.rounds) == without_times(plain.rounds)
    assert personal.test != plain.test and same(personal.arrays, plain.arrays)

    def for_the_worse(model, data, dev=None, **options):
        history = training.train(model, data, dev, **options)
        if dev:  # alone, at the end: confident and wrong
            wrong = {name: -100 * values for name, values in training.get_arrays(model).items()}
            training.set_arrays(model, wrong)
        return history

    monkeypatch.setattr(client_side, "train", for_the_worse)  # processes that are forked have it too
    monkeypatch.setenv("FEDPROMPT_START_METHOD", "fork")
    assert simulate(config.replace(personal_epochs=3)).test == plain.test


def test_averages_are_those_of_the_weights():
    updates = [{"a": np.array([0.0, 4.0], np.float32)}, {"a": np.array([2.0, 0.0], np.float32)}]
    first, second = average_for_each(updates, np.array([[0.75, 0.25], [0.0, 1.0]]))
    assert first["a"].tolist() == [0.5, 3.0] and second["a"].tolist() == [2.0, 0.0]
    assert first["a"].dtype == np.float32


def test_each_client_is_sent_and_scored_on_its_own_average(config, plain):
    """With a large scale all averages are FedAvg's; with a small one each client goes on from its own arrays."""
    by_distance = config.replace(aggregation="fedavg-distance")
    wide, narrow = (simulate(by_distance.replace(distance_scale=scale)) for scale in (1e6, 1e-3))
    losses = [[entry["dev_loss"] for entry in outcome.rounds] for outcome in (plain, wide, narrow)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2][-1] != pytest.approx(losses[0][-1], rel=1e-4)
    heads = [next(x for name, x in narrow.own[str(client)].items() if "classifier" in name) for client in range(3)]
    assert not plain.own and not np.allclose(heads[0], heads[1])
