"""The Flower project inside the package: the keys and defaults of its run configuration are those of the package."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from fedprompt_helpers.config import EXTRA, RunConfig, from_text

PROJECT = Path(__file__).resolve().parent.parent / "fedprompt_helpers" / "flower_app" / "pyproject.toml"
APP = tomllib.loads(PROJECT.read_text("utf-8"))["tool"]["flwr"]["app"]


def test_its_run_configuration_is_the_default_one():
    settings = {name: value for name, value in APP["config"].items() if name not in EXTRA}
    expected = RunConfig().to_text()
    assert settings == expected
    assert {name: type(value) for name, value in settings.items()} == {
        name: type(value) for name, value in expected.items()
    }
    assert set(APP["config"]) - set(settings) == set(EXTRA)
    assert RunConfig(**from_text(APP["config"])) == RunConfig()


def test_its_components_are_the_two_apps():
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

    for name, kind in {"serverapp": ServerApp, "clientapp": ClientApp}.items():
        module, _, attribute = APP["components"][name].partition(":")
        assert isinstance(getattr(import_module(module), attribute), kind)


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(languages=("en", "cy"), unseen=("af",), train_size=8, patience=None, seed=3, device="cpu"),
        RunConfig(partition="mapping", mapping=[["en", "de"], ["cy", "ga", "is"]], learning_rate=1),
        RunConfig(partition="dirichlet-both", alpha=1, clients=7, data_dir="C:\\data, mine", aggregation="fedadam"),
    ],
    ids=lambda config: config.name(),
)
def test_a_configuration_survives_the_way_through_flower(config):
    settings = config.to_text()
    assert {type(value) for value in settings.values()} <= {str, int, float}
    assert RunConfig(**from_text(settings)) == config
    whole = {name: int(value) if value == 1 else value for name, value in settings.items()}  # TOML's 1 for 1.0
    assert RunConfig(**from_text(whole)) == config
