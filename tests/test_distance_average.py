"""Averages of its own for each client: who weighs how much."""

import numpy as np
import pytest

from fedprompt_helpers.data.distance import language_distance, weights_by_distance
from fedprompt_helpers.errors import FedPromptError

GROUPS = (("eng",), ("fra",), ("yor",))


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


def test_a_language_that_uriel_does_not_have_is_named():
    with pytest.raises(FedPromptError, match="language of URIEL"):
        weights_by_distance((("en",), ("qqq",)), [1, 1], 0.2)
