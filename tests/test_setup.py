"""What a fresh user installs is the same by every way in."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pins}


def environment() -> dict[str, str]:
    section = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in section if isinstance(entry, dict))
    return {
        canonical(line.split("==")[0]): line.split("==")[1].split(";")[0].strip()
        for line in pip
        if not line.startswith("--")
    }


def requirements() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    return {canonical(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in lines}


def test_environment_and_constraints_name_the_same_versions():
    pinned = constraints()
    assert len(pinned) > 100
    for name, version in environment().items():
        assert pinned.get(name) == version, name


def test_everything_the_package_asks_for_is_pinned_in_both():
    assert requirements() <= set(constraints())
    assert requirements() <= set(environment())


def test_installed_versions_are_the_pinned_ones():
    listed = subprocess.run([sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True)
    installed = dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)
    installed = {canonical(name): version.split("+")[0] for name, version in installed.items()}
    pinned = constraints()
    assert {name: installed[name] for name in requirements() if name in installed} == {
        name: pinned[name] for name in requirements() if name in installed
    }


def test_no_index_is_hard_wired():
    for name in ("Makefile", "constraints.txt", "environment.yml", "pyproject.toml"):
        assert "://" not in (ROOT / name).read_text(), name
