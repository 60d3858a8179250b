"""Development container, Binder and the workflow: the same Python, pins and commands, and files that are there."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))


def test_it_has_the_python_that_the_package_asks_for():
    version = re.search(r"\bpython:(\d+\.\d+)", CONTAINER["image"])[1]
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert asked == f">={version}"


def test_it_installs_by_the_command_of_the_makefile_and_that_makes_the_environment():
    program, target = CONTAINER["postCreateCommand"].split()
    # The variables of a `make test VENV=...` that runs this test are not those of the container.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VENV"))}
    command = [program, "--dry-run", "--always-make", target]
    dry = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean)
    assert dry.returncode == 0, dry.stderr
    assert "pip install --constraint constraints.txt --editable" in dry.stdout
    interpreter = CONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter.removeprefix("${containerWorkspaceFolder}/").startswith(target.split("/")[0] + "/")


def test_the_files_it_opens_are_there():
    custom = CONTAINER["customizations"]
    for name in custom["codespaces"]["openFiles"]:
        assert (ROOT / name).is_file(), name
    folder = custom["vscode"]["settings"]["jupyter.notebookFileRoot"].removeprefix("${containerWorkspaceFolder}/")
    assert any((ROOT / folder).glob("*.ipynb"))


def test_binder_takes_the_pinned_cpu_build_and_no_test_extras():
    python, pip, torch = yaml.safe_load((ROOT / ".binder/environment.yml").read_text("utf-8"))["dependencies"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert f"python:{python.partition('=')[2]}-" in CONTAINER["image"] and pip == "pip"
    assert torch.partition("=")[0] == "pytorch-cpu" and torch.replace("pytorch-cpu=", "torch==") in pins
    script = ROOT / ".binder/postBuild"
    text = script.read_text("utf-8")
    assert os.access(script, os.X_OK) and text.startswith("#!/bin/bash\n") and "set -e" in text
    assert "--constraint constraints.txt" in text and "test]" not in text and "book]" not in text
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_the_workflow_tries_windows_macos_and_the_newest_python():
    job = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text("utf-8"))["jobs"]["elsewhere"]
    tried = {(each["os"].partition("-")[0], each["python"]) for each in job["strategy"]["matrix"]["include"]}
    assert {system for system, _ in tried} == {"windows", "macos", "ubuntu"}
    assert {python for _, python in tried} == {"3.11", "3.12", "3.13"}
    said = [step.get("run", "") for step in job["steps"]]
    assert any("tests.check --quick" in line for line in said) and any("fedprompt run" in line for line in said)
