"""A configuration: checked as a whole, in one line, and the same whichever way it is written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from fedprompt_helpers.config import DEFAULTS, FIELDS, GROUPS, TRACKS, RunConfig
from fedprompt_helpers.errors import FedPromptError

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "book" / "results" / "records.jsonl"

LANGUAGES = (("en", "cy"), ("de", "ga", "is"))
OTHERS = {  # a value of each field that is not its default, and what it needs beside it
    "task": ("xnli", {}),
    "languages": (("en", "cy"), {}),
    "data_dir": ("somewhere", {}),
    "text_field": ("title", {}),
    "columns": ("text=tweet", {"task": "own"}),
    "split_names": ("dev=eval", {"task": "own"}),
    "quotes": ("never", {"task": "own"}),
    "label_budget": ((7,), {}),
    "dev_share": (0.5, {"label_budget": 7}),
    "draw": ("balanced", {"label_budget": 7}),
    "train_size": (7, {}),
    "dev_size": (7, {}),
    "test_size": (7, {}),
    "partition": ("iid", {}),
    "clients": (10, {}),
    "alpha": (0.3, {"partition": "dirichlet-label"}),
    "mapping": (LANGUAGES, {"partition": "mapping"}),
    "unseen": (("af",), {}),
    "backbone": ("somewhere", {}),
    "method": ("lora", {}),
    "virtual_tokens": (7, {}),
    "prompt_init": ("random", {}),
    "pooling": ("mean", {}),
    "head_start": ("prototypes", {}),
    "max_length": (7, {}),
    "precision": ("float32", {}),
    "device": ("cpu", {}),
    "local_epochs": (7, {}),
    "learning_rate": (0.25, {}),
    "batch_size": (7, {}),
    "patience": (None, {}),
    "best_by": ("macro-f1", {}),
    "personal_epochs": (7, {}),
    "setting": ("local", {}),
    "rounds": (7, {}),
    "aggregation": ("krum", {}),
    "proximal_mu": (0.5, {"aggregation": "fedprox"}),
    "server_learning_rate": (0.5, {"aggregation": "fedadam"}),
    "server_momentum": (0.5, {"aggregation": "fedavgm"}),
    "distance_scale": (0.5, {"aggregation": "fedavg-distance"}),
    "update_precision": ("int8", {}),
    "head": ("local", {}),
    "prompt": ("local", {}),
    "min_share": (0.25, {}),
    "seed": (7, {}),
}


def test_the_table_above_has_every_field():
    assert set(OTHERS) == {*FIELDS, "seed"} == set(DEFAULTS)


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_counts_and_survives_a_record(name):
    value, needs = OTHERS[name]
    config, plain = RunConfig(**needs | {name: value}), RunConfig()
    assert config.flat()[name] == value != DEFAULTS[name]
    assert config != plain
    assert config.name() != plain.name()
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config == pickle.loads(pickle.dumps(config))
    assert hash(again) == hash(config)
    assert again.name() == config.name()
    assert config.replace(**plain.flat()) == plain
    if not needs:
        assert plain.replace(**{name: value}) == config


def test_fields_are_read_through_their_groups():
    config = RunConfig(languages=["en", "cy"], method="lora", local_epochs=3, rounds=4, personal_epochs=2, seed=5)
    assert config.data.languages == ("en", "cy")
    assert (config.model.method, config.training.local_epochs, config.federation.rounds) == ("lora", 3, 4)
    assert (config.clients, config.client_languages, config.epochs) == (2, (("en",), ("cy",)), 14)
    assert set(config.flat()) == {"seed", *(name for group in GROUPS.values() for name in group.model_fields)}
    with pytest.raises(ValueError, match="frozen"):
        config.training.batch_size = 3


def test_defaults_are_those_of_the_fields():
    assert RunConfig().flat() == DEFAULTS
    assert RunConfig(aggregation="fedadam").federation.server_learning_rate == 0.1


def test_missing_fields_take_defaults_and_unknown_ones_are_refused():
    assert RunConfig.from_dict({"languages": ["en", "cy"]}) == RunConfig(languages=("en", "cy"))
    with pytest.raises(FedPromptError, match=r"unknown field 'heat'.*use the version of this package that wrote it"):
        RunConfig.from_dict({"heat": 1})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"alpha": 1, "partition": "dirichlet-both"}, {"alpha": 1.0, "partition": "dirichlet-both"}),
        ({"rounds": np.int64(3), "seed": np.int32(2)}, {"rounds": 3, "seed": 2}),
        ({"learning_rate": np.float64(0.01)}, {"learning_rate": 0.01}),
        ({"languages": ["en", "cy"]}, {"languages": ("en", "cy")}),
        (
            {"mapping": [["en", "cy"], ["de", "ga", "is"]], "partition": "mapping"},
            {"mapping": LANGUAGES, "partition": "mapping"},
        ),
    ],
)
def test_one_configuration_has_one_name(written, meant):
    one, other = RunConfig(**written), RunConfig(**meant)
    assert one == other
    assert one.name() == other.name()
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rounds": "3"}, "rounds is '3'; it must be a valid integer"),
        ({"rounds": 2.5}, "rounds is 2.5; it must be a valid integer"),
        ({"rounds": True}, "rounds is True; it must be a valid integer"),
        ({"train_size": "5"}, "train_size is '5'; it must be a valid integer"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'; it must be a valid number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be greater than 0"),
        ({"min_share": 2}, "min_share is 2; it must be less than or equal to 1"),
        ({"seed": -1}, "seed is -1; it must be greater than or equal to 0"),
        ({"seed": 2**32}, "seed is 4294967296; it must be less than 4294967296"),
        ({"rounds": -1}, "rounds is -1; it must be greater than or equal to 0"),
        ({"rounds": 0}, "rounds is 0, and nothing else would be learned; give rounds, or another head_start"),
        ({"languages": "en,cy"}, "languages is 'en,cy'; it must be a list of names, such as ('en', 'cy')"),
        ({"languages": 3}, "languages is 3; it must be a list of names"),
        ({"languages": None}, "languages is None; it must be a list of names"),
        ({"languages": ("en", 3)}, "languages is 3; it must be a valid string"),
        ({"languages": ()}, "no language given; name at least one"),
        ({"languages": ("en", "en")}, "language 'en' is given twice"),
        ({"backbone": 3}, "backbone is 3; it must be a valid string"),
        ({"mapping": 3, "partition": "mapping"}, "mapping is 3; it must be a list"),
        ({"mapping": ["en"], "partition": "mapping"}, "mapping is 'en'; it must be a list"),
        ({"mapping": [["en", "cy"]], "partition": "mapping"}, "the mapping names de 0 times"),
        ({"task": "intent"}, "unknown task 'intent'; nearest: intents, afrisenti, own-tokens; available: "),
        ({"method": "P_Tuning"}, "unknown method 'P_Tuning'; nearest: p-tuning, "),
        ({"aggregation": "fedavgg"}, "nearest: fedavg, "),
        ({"roundz": 1}, "unknown field of a configuration 'roundz'; nearest: rounds"),
        ({"virtual_tokens": 10**12}, "virtual_tokens is 1000000000000; it must be less than or equal to 1000000"),
        ({"clients": 10**9, "partition": "iid"}, "clients is 1000000000; it must be less than or equal to 1000000"),
        ({"server_momentum": 0.5}, "does not read it; leave it out, or choose the aggregation fedavgm or fedadam"),
        ({"server_learning_rate": 0.5}, "server_learning_rate is 0.5, but the aggregation is 'fedavg'"),
        ({"proximal_mu": 0.5, "aggregation": "krum"}, "proximal_mu is 0.5, but the aggregation is 'krum'"),
        ({"distance_scale": 0.5}, "distance_scale is 0.5, but the aggregation is 'fedavg'"),
        ({"aggregation": "fedprox", "setting": "local"}, "the setting is 'local', which does not read it"),
        ({"update_precision": "int8", "setting": "centralised"}, "leave it out, or choose the setting federated"),
        ({"alpha": 1.0}, "leave it out, or choose the partition dirichlet-label or"),
        ({"mapping": LANGUAGES}, "'is')), but the partition is 'language', which does not read it"),
        ({"partition": "dirichlet-label"}, "alpha (--alpha) is left out"),
        ({"clients": 9}, "9 clients for 5 languages"),
    ],
    ids=str,
)
def test_a_mistake_is_said_in_one_line(values, says):
    with pytest.raises(FedPromptError) as raised:
        RunConfig(**values)
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_tracks_are_configurations():
    for track in TRACKS.values():
        assert RunConfig(**track).flat() == DEFAULTS | track


def test_the_configurations_of_old_records_load():
    configs = [json.loads(line)["config"] for line in RECORDS.read_text("utf-8").splitlines()]
    assert len(configs) >= 188
    made = [RunConfig.from_dict(values) for values in configs]
    for config, values in zip(made, configs, strict=True):
        assert {name: config.to_dict()[name] for name in values} == values
    assert len({config.name() for config in made}) == len(set(made)) == len(made)
