"""Who holds what: every example with exactly one client, whatever the scheme, the clients, alpha and the seed."""

import re
import time
from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from fedprompt_helpers.config import SCHEMES
from fedprompt_helpers.data.partition import counts, mean_total_variation, partition
from fedprompt_helpers.data.tasks import Task
from fedprompt_helpers.errors import FedPromptError

LABELS = ("TurnOn", "TurnOff", "GetWeather")
CODES = ("sw", "cy", "af", "ga", "eu")  # not in alphabetical order
few = settings(max_examples=25, deadline=None, derandomize=True)


def make_task(sizes, rng=None):
    """A task in memory: for each size one language with so many sentences, no two of them alike."""
    rng = rng or np.random.default_rng(0)
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LABELS))})
    data = {}
    for code, size in zip(CODES, sizes, strict=False):
        columns = {"text": [f"{code} {i}" for i in range(size)], "label": rng.integers(0, 3, size).tolist()}
        data[code] = DatasetDict(train=Dataset.from_dict(columns, features=features))
    return Task("intents", tuple(data), LABELS, data)


def rows(dataset):
    return list(zip(dataset["text"], dataset["label"], dataset["language"], strict=True))


def everything_of(task):
    """All training examples of a task, language by language."""
    splits = [(language, task.data[language]["train"]) for language in task.languages]
    return [(*pair, language) for language, x in splits for pair in zip(x["text"], x["label"], strict=True)]


@st.composite
def cases(draw):
    task = make_task(draw(st.lists(st.integers(3, 25), min_size=1, max_size=5)))
    scheme = draw(st.sampled_from(SCHEMES))
    arguments = {"seed": draw(st.integers(0, 2**32 - 1))}
    if scheme == "language":
        arguments["clients"] = len(task.languages) * draw(st.integers(1, 3))
    elif scheme == "mapping":
        shuffled = draw(st.permutations(task.languages))
        cut = draw(st.integers(1, len(shuffled)))
        arguments["mapping"] = [shuffled[:cut], *([name] for name in shuffled[cut:])]
    else:
        arguments["clients"] = draw(st.integers(1, 6))
    if scheme.startswith("dirichlet"):
        arguments["alpha"] = draw(st.floats(0.01, 1000))
    return task, scheme, arguments


@pytest.mark.slow
@few
@given(cases())
def test_every_example_lands_with_exactly_one_client(case):
    task, scheme, arguments = case
    everything = everything_of(task)
    assert len(set(everything)) == sum(len(task.data[language]["train"]) for language in task.languages)
    try:
        parts = partition(task, scheme, **arguments)
    except FedPromptError as error:
        if "would hold nothing" in str(error):
            assert arguments["clients"] > len(everything)
        else:
            assert re.search(r"leave \d+ without examples: \d", str(error))
            assert arguments["alpha"] < 1 or len(everything) < 10 * arguments["clients"]
        return
    assert len(parts) == arguments.get("clients", len(arguments.get("mapping", task.languages)))
    assert all(len(part) for part in parts)
    assert Counter(row for part in parts for row in rows(part)) == Counter(everything)
    again = partition(task, scheme, **arguments)
    assert [rows(part) for part in parts] == [rows(part) for part in again]


@pytest.mark.slow
@few
@given(cases())
def test_counts_add_up(case):
    task, scheme, arguments = case
    try:
        parts = partition(task, scheme, **arguments)
    except FedPromptError:
        return
    everything = {"label": [row[1] for row in everything_of(task)], "language": [row[2] for row in everything_of(task)]}
    for by, names in (("label", range(len(LABELS))), ("language", task.languages)):
        table = counts(parts, task, by)
        assert table.shape == (len(parts), len(names)) and table.dtype == np.int64
        assert table.sum(axis=1).tolist() == [len(part) for part in parts]
        assert table.sum(axis=0).tolist() == [everything[by].count(name) for name in names]


def test_another_seed_gives_other_parts():
    task = make_task([20, 20, 20])
    for scheme, alpha in (("iid", None), ("dirichlet-label", 1), ("dirichlet-language", 1)):
        first, second = (partition(task, scheme, alpha=alpha, seed=seed) for seed in (0, 1))
        assert [rows(part) for part in first] != [rows(part) for part in second]


def test_by_language_gives_each_language_its_own_data_in_order():
    task = make_task([9, 4, 25, 1])
    parts = partition(task, "language")
    assert len(parts) == 4
    for language, part in zip(task.languages, parts, strict=True):
        train = task.data[language]["train"]
        assert list(part["text"]) == list(train["text"]) and list(part["label"]) == list(train["label"])
        assert set(part["language"]) == {language}
    assert (counts(parts, task, "language") == np.diag([9, 4, 25, 1])).all()


def test_the_parts_keep_the_label_names():
    task = make_task([9, 9])
    for scheme in set(SCHEMES) - {"mapping"}:
        for part in partition(task, scheme, alpha=10 if scheme.startswith("dirichlet") else None):
            assert part.column_names == ["text", "label", "language"]
            assert tuple(part.features["label"].names) == LABELS


def test_iid_parts_are_equally_large():
    sizes = [len(part) for part in partition(make_task([11, 7, 20, 3, 2]), "iid", clients=4)]
    assert sum(sizes) == 43 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("scheme", ["iid", "dirichlet-label"])
def test_no_hidden_skew_by_language(scheme):
    """The pooled examples come language by language; a client must not get a run of them."""
    task = make_task([200, 200, 200, 200, 200])
    parts = partition(task, scheme, alpha=None if scheme == "iid" else 1000)
    assert mean_total_variation(counts(parts, task, "label")) < 0.1
    assert mean_total_variation(counts(parts, task, "language")) < 0.15  # by language it is 0.8


def test_dirichlet_by_language_mixes_the_labels():
    """Examples of one language come by class in turn or in blocks; neither may reach the clients."""
    task = make_task([300, 300])
    for language in task.languages:
        task.data[language]["train"] = task.data[language]["train"].sort("label")
    parts = partition(task, "dirichlet-language", clients=2, alpha=1000)
    assert mean_total_variation(counts(parts, task, "label")) < 0.1


@pytest.mark.parametrize("scheme", ["dirichlet-label", "dirichlet-language"])
@pytest.mark.slow
def test_a_smaller_alpha_is_less_even(scheme):
    task = make_task([100, 100, 100, 100, 100])
    by = scheme.removeprefix("dirichlet-")
    distance = {
        alpha: np.mean(
            [mean_total_variation(counts(partition(task, scheme, alpha=alpha, seed=s), task, by)) for s in range(5)]
        )
        for alpha in (0.1, 1, 100)
    }
    assert distance[0.1] > distance[1] + 0.1 > distance[100] + 0.2


@pytest.mark.parametrize(
    ("scheme", "arguments", "message"),
    [
        ("dirichlet", {}, "unknown partition 'dirichlet'; nearest: dirichlet-"),
        ("dirichlet-label", {}, r"alpha \(--alpha\) is left out.*above 0, for example 0.5"),
        ("dirichlet-label", {"alpha": 0}, r"alpha \(--alpha\) is 0.*for example 0.5"),
        ("dirichlet-language", {"alpha": -1.0}, "alpha is -1.0; it must be greater than or equal to 0"),
        ("dirichlet-label", {"alpha": float("nan")}, "alpha is nan; it must be a finite number"),
        ("dirichlet-label", {"alpha": float("inf")}, "alpha is inf; it must be a finite number"),
        ("dirichlet-label", {"alpha": "0.5"}, "alpha is '0.5'; it must be a valid number"),
        ("iid", {"clients": 19}, "19 clients for 18 training examples.*use fewer clients"),
        ("iid", {"clients": 0}, "clients is 0; it must be greater than or equal to 1"),
        ("iid", {"clients": 2.0}, "clients is 2.0; it must be a valid integer"),
        ("iid", {"seed": -1}, "seed is -1; it must be greater than or equal to 0"),
        ("language", {"clients": 2}, "2 clients for 3 languages.*leave --clients out"),
        ("dirichlet-label", {"alpha": 0.001, "clients": 18}, "18 clients at alpha 0.001.*raise alpha"),
    ],
)
def test_mistakes_are_told_in_one_line_with_a_next_step(scheme, arguments, message):
    with pytest.raises(FedPromptError, match=message) as caught:
        partition(make_task([6, 6, 6]), scheme, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("number", [10**6, 10**12, 2**70])
def test_a_huge_number_of_clients_is_refused_before_anything_is_allocated(scheme, number):
    arguments = {"alpha": 1.0} if scheme.startswith("dirichlet") else {}
    arguments |= {"mapping": [["sw", "cy"]]} if scheme == "mapping" else {}
    began = time.perf_counter()
    said = f"{number}.* (36 training examples|less than or equal to 1000000|1 groups)"
    with pytest.raises(FedPromptError, match=said):
        partition(make_task([18, 18]), scheme, clients=number, **arguments)
    assert time.perf_counter() - began < 1


def test_a_language_without_examples_is_named():
    with pytest.raises(FedPromptError, match="no training examples in cy: leave the language out"):
        partition(make_task([5, 0, 5]), "language")


@pytest.mark.slow
def test_nothing_is_printed(capfd, recwarn):
    task = make_task([6, 6, 6])
    partition(task, "language")
    partition(task, "iid")
    for seed in range(10):  # some of these draw anew
        partition(task, "dirichlet-label", alpha=0.3, seed=seed)
    partition(task, "language", clients=6)
    partition(task, "mapping", mapping=[[name] for name in task.languages])
    partition(task, "dirichlet-both", alpha=1.0)
    partition(task, "dirichlet-language", alpha=1.0)
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_an_unknown_column_to_count_by():
    task = make_task([3, 3])
    with pytest.raises(FedPromptError, match=r"unknown column 'labels'.*available: label, language"):
        counts(partition(task), task, "labels")


@pytest.mark.parametrize(
    ("table", "distance"),
    [
        ([[5, 5], [10, 10]], 0.0),
        ([[8, 0], [0, 8]], 0.5),
        ([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]], 0.75),
        ([[30, 10], [0, 10]], 0.375),  # the whole is 0.6 and 0.4: (0.15 + 0.6) / 2
    ],
)
def test_mean_total_variation_by_hand(table, distance):
    assert mean_total_variation(np.array(table)) == pytest.approx(distance)


def test_a_client_without_examples_has_no_distance():
    with pytest.raises(FedPromptError, match="holds no examples"):
        mean_total_variation(np.array([[1, 2], [0, 0]]))


def test_several_clients_a_language_and_groups_of_languages():
    task = make_task([20, 21, 22])
    parts = partition(task, "language", clients=6)
    held = counts(parts, task, "language")
    assert held.tolist() == [[10, 0, 0], [10, 0, 0], [0, 11, 0], [0, 10, 0], [0, 0, 11], [0, 0, 11]]
    parts = partition(task, "mapping", mapping=[["af"], ["sw", "cy"]])
    assert counts(parts, task, "language").tolist() == [[0, 0, 22], [20, 21, 0]]


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (None, "needs a mapping"),
        ([["sw"], ["cy"]], "names af 0 times"),
        ([["sw", "cy"], ["af", "sw"]], "names sw 2 times"),
        ([["sw", "cy", "af"], []], "without a language"),
        ([["sw", "cy", "ag"]], "nearest: "),
    ],
)
def test_a_mapping_that_does_not_fit(mapping, expected):
    with pytest.raises(FedPromptError, match=expected):
        partition(make_task([20, 20, 20]), "mapping", mapping=mapping)


@pytest.mark.parametrize("clients", [30, 200])
def test_who_would_be_empty_is_named(clients):
    task = make_task([150, 150])
    with pytest.raises(FedPromptError) as error:
        partition(task, "dirichlet-label", clients=clients, alpha=0.01, seed=3)
    number, named = re.search(r"leave (\d+) without examples: ([\d, .]+);", str(error.value)).groups()
    shown = [int(i) for i in named.removesuffix(", ...").split(", ")]
    assert len(shown) == min(int(number), 30)
    assert clients - len(shown) >= 1
    assert shown == sorted(set(shown)) and shown[-1] < clients
