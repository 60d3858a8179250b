"""Distances between languages: known neighbours are near, and mistakes are named."""

import pytest

from book.research.gains import mean_distance
from fedprompt_helpers.data.distance import KINDS, language_distance
from fedprompt_helpers.errors import FedPromptError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_it_is_a_distance(kind):
    assert language_distance("cy", "cy", kind) == pytest.approx(0, abs=1e-9)
    assert language_distance("cy", "yor", kind) == pytest.approx(language_distance("yor", "cym", kind))
    assert 0 < language_distance("cy", "yor", kind) <= 1


def test_relatives_are_nearer_than_strangers():
    assert language_distance("de", "lb") < language_distance("de", "cy") < language_distance("de", "bn")
    assert language_distance("cy", "ga", "genealogy") < language_distance("cy", "eu", "genealogy")
    assert language_distance("eu", "cy", "genealogy") == 1  # an isolate
    assert language_distance("hau", "yor", "geography") < language_distance("hau", "is", "geography")


def test_the_mean_leaves_the_language_itself_out():
    two = (language_distance("eng", "fra") + language_distance("eng", "hau")) / 2
    assert mean_distance("eng", ("eng", "fra", "hau")) == pytest.approx(two)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: language_distance("xx", "en"), "language of URIEL"),
        (lambda: language_distance("en", "cy", "typologie"), "typology"),
        (lambda: mean_distance("en", ("en",)), "at least one other"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(FedPromptError, match=says):
        call()
