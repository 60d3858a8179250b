"""The reader's own Flower project of chapter 6: on processes of this machine, and from a copy under `flwr run`."""

import json
import re
import shutil
import subprocess
import tomllib

import pytest

from .test_book import ROOT
from .test_runtimes import federation

PROJECT = ROOT / "book/flower_app"
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["flwr"]["app"]["config"]


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.syspath_prepend(PROJECT)
    import client_app
    import server_app

    from fedprompt_helpers.federation.grid import run_here

    def run(**changes) -> list[float]:
        """Run the project; return the pencil model after each round."""
        capsys.readouterr()
        settings = SETTINGS | {name.replace("_", "-"): value for name, value in changes.items()}
        run_here(server_app.app, client_app.app, len(settings["languages"].split(",")), run_config=settings)
        return pencil(capsys.readouterr().out)

    return run


def pencil(said: str) -> list[float]:
    return [float(w) for w in re.findall(r"^round \d: w = (\S+)$", said, re.M)]


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, [0, 2.5, 3.75]),
        ({"local_epochs": 2}, [0, 3.75, 4.6875]),
        ({"strategy": "FedProx", "local_epochs": 2}, [0, 2.5, 3.75]),
        ({"fails": "ga"}, [0, 2, 3]),
    ],
    ids=str,
)
def test_the_pencil_model_is_where_the_chapter_says(run, changes, after):
    assert run(**changes) == after


@pytest.mark.slow
def test_two_languages_beat_the_majority_class(run, tmp_path):
    output = tmp_path / "scores.json"
    run(model="prompt", rounds=3, local_epochs=3, output=str(output))
    scores = json.loads(output.read_text("utf-8"))["3"]
    for language in ("cy", "ga"):
        assert scores[f"{language} accuracy"] > scores[f"{language} majority"] + 0.2


@pytest.mark.slow
def test_a_copy_runs_under_flwr_run(tmp_path, preloaded):
    home, project = tmp_path / "home", tmp_path / "my_federation"
    home.mkdir()
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    with federation(home, [tmp_path, tmp_path], preloaded) as environment:
        command = ["flwr", "run", ".", "link", "--stream"]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=400)
    assert pencil(done.stdout) == [0, 2.5, 3.75], done.stdout + done.stderr
