"""Averages of its own for each client: who weighs how much, and what reaches the clients."""

import dataclasses

import numpy as np
import pytest

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.distance import language_distance
from fedprompt_helpers.distance_average import average_for_each, weights_by_distance
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.federation import simulate

GROUPS = (("eng",), ("fra",), ("yor",))
CONFIG = RunConfig(languages=("en", "cy", "ga"), train_size=12, rounds=2, local_epochs=1, aggregation="fedavg-distance")


def test_a_large_scale_gives_fedavgs_weights_and_a_small_one_leaves_each_client_alone():
    examples = [10, 30, 60]
    assert np.allclose(weights_by_distance(GROUPS, examples, 1e6), [[0.1, 0.3, 0.6]] * 3, atol=1e-5)
    assert np.allclose(weights_by_distance(GROUPS, examples, 1e-3), np.eye(3))


def test_near_languages_weigh_more_and_every_row_adds_up_to_one():
    weights = weights_by_distance(GROUPS, [48] * 3, 0.2)
    assert np.allclose(weights.sum(axis=1), 1)
    assert language_distance("eng", "fra") < language_distance("eng", "yor")
    assert weights[0, 0] > weights[0, 1] > weights[0, 2]
    ratio = np.exp(-(language_distance("eng", "fra") - language_distance("eng", "yor")) / 0.2)
    assert weights[0, 1] / weights[0, 2] == pytest.approx(ratio)


def test_a_client_of_two_languages_is_as_far_as_they_are_on_average():
    weights = weights_by_distance((("eng", "fra"), ("yor",)), [1, 1], 0.2)
    far = (language_distance("eng", "yor") + language_distance("fra", "yor")) / 2
    assert weights[0, 1] / weights[0, 0] == pytest.approx(np.exp(-far / 0.2))


def test_averages_are_those_of_the_weights():
    updates = [{"a": np.array([0.0, 4.0], np.float32)}, {"a": np.array([2.0, 0.0], np.float32)}]
    first, second = average_for_each(updates, np.array([[0.75, 0.25], [0.0, 1.0]]))
    assert first["a"].tolist() == [0.5, 3.0] and second["a"].tolist() == [2.0, 0.0]
    assert first["a"].dtype == np.float32


def test_each_client_is_sent_and_scored_on_its_own_average():
    """With a large scale all averages are FedAvg's; with a small one each client goes on from its own arrays."""
    plain = simulate(dataclasses.replace(CONFIG, aggregation="fedavg"))
    wide = simulate(dataclasses.replace(CONFIG, distance_scale=1e6))
    narrow = simulate(dataclasses.replace(CONFIG, distance_scale=1e-3))
    losses = [[entry["dev_loss"] for entry in outcome.rounds] for outcome in (plain, wide, narrow)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert abs(losses[2][-1] - losses[0][-1]) > 1e-3
    heads = [next(x for name, x in narrow.own[client].items() if "classifier" in name) for client in range(3)]
    assert not plain.own and not np.allclose(heads[0], heads[1])


def test_a_stopped_run_goes_on_with_the_same_averages(tmp_path):
    whole = simulate(CONFIG, folder=tmp_path / "whole")
    simulate(dataclasses.replace(CONFIG, rounds=1), folder=tmp_path / "parts")
    resumed = simulate(CONFIG, folder=tmp_path / "parts")
    assert [entry["dev_loss"] for entry in resumed.rounds] == [entry["dev_loss"] for entry in whole.rounds]
    assert resumed.test == whole.test


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"update_precision": "int8"}, "float32 updates only"),
        ({"head": "local"}, "shared head"),
        ({"distance_scale": 0.0}, "above 0"),
        ({"setting": "centralised"}, "nothing is sent"),
    ],
)
def test_what_it_cannot_do_is_refused(more, message):
    with pytest.raises(FedPromptError, match=message):
        dataclasses.replace(CONFIG, **more)


def test_a_language_that_uriel_does_not_have_is_named():
    with pytest.raises(FedPromptError, match="language of URIEL"):
        dataclasses.replace(CONFIG, task="tsv", languages=("en", "qqq"))
