"""The development container offers the same Python, the same commands and files that are there."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

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
