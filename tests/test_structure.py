"""The package's size and its floors; what it imports, and when."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fedprompt_helpers"
# What the package is to come down to, and what it must not grow beyond until then.
GOAL, LIMIT, FILE_LIMIT, MOST_FLOORS = 3500, 5882, 250, 8
FLOORS = {
    1: ("errors", "checks", "files", "config"),
    2: ("data", "plots", "records"),
    3: ("model",),
    4: ("clients",),
    5: ("federation",),
    6: (
        "progress",
        "trust",
        "deploy",
        "runs",
        "reports",
        "cards",
        "adapters",
        "texts",
        "doctor",
        "inspection",
        "flower",
    ),
    7: ("cli", "options", "__init__", "__main__"),
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
PUBLIC_FLOWER = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy")
PRIVATE_FLOWER = ["flwr.supercore.task_identity"]
FORBIDDEN = (
    r"run_simulation",
    r"sys\.modules\[[^]]+\] *=[^=]",
    r"(?<!cloud)pickle\.load|pickle\.load\(",  # cloudpickle.loads reads what a process of this very run sends
    r"FLWR_LOG_LEVEL",
    r"strategy_utils",
)

SOURCES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
LINES = {name: path.read_text("utf-8").count("\n") for name, path in SOURCES.items()}


def imported(name: str) -> set[str]:
    """Every module, of this package by its name in SOURCES and of others by its full name, that a file imports."""
    own, found = ["fedprompt_helpers", *name.split(".")], set()
    for node in ast.walk(ast.parse(SOURCES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*own[: len(own) - node.level], *filter(None, [node.module])] if node.level else [node.module]
            found |= {".".join([*base, alias.name]) for alias in node.names} | {".".join(base)}
    return {_module(each) for each in found} - {None, name}


def _module(full: str) -> str | None:
    """The module that a dotted name of this package is, None for what is a name in one; another package's as it is."""
    first, _, rest = full.partition(".")
    if first != "fedprompt_helpers":
        return full
    if rest in SOURCES:
        return rest
    package = f"{rest}.__init__" if rest else "__init__"
    return package if package in SOURCES and rest else None


IMPORTS = {name: imported(name) for name in SOURCES}
ARROWS = {name: {each for each in targets if each in SOURCES} for name, targets in IMPORTS.items()}


def floor(name: str) -> int:
    return FLOOR[name.split(".")[0]]


def test_the_package_is_thin(capsys):
    total = sum(LINES.values())
    with capsys.disabled():
        found = f"{total:,} lines of Python in {len(LINES)} files, {len(FLOORS)} floors; goal: {GOAL:,}"
        print(f"\nfedprompt_helpers: {found}", flush=True)
        for number, names in sorted(FLOORS.items(), reverse=True):
            lines = sum(n for name, n in LINES.items() if name.split(".")[0] in names)
            print(f"  floor {number}: {lines:>5,} lines  {', '.join(names)}", flush=True)
    assert total <= LIMIT


def test_every_file_can_be_read_to_its_end():
    assert {name: n for name, n in LINES.items() if n > FILE_LIMIT} == {}


def test_every_module_has_a_floor():
    assert {name.split(".")[0] for name in SOURCES} == set(FLOOR)
    assert len(FLOORS) <= MOST_FLOORS


def test_no_arrow_points_upwards():
    known = {name for name in SOURCES if name.split(".")[0] in FLOOR}
    upwards = [f"{a} -> {b}" for a in known for b in ARROWS[a] & known if floor(b) > floor(a)]
    assert sorted(upwards) == []


def test_no_modules_import_each_other():
    try:
        TopologicalSorter(ARROWS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_flower_is_used_as_it_is_published():
    flower = [each for targets in IMPORTS.values() for each in targets if each.split(".")[0] == "flwr"]
    allowed = (*PUBLIC_FLOWER, *PRIVATE_FLOWER)
    assert [each for each in flower if each not in allowed and each.rpartition(".")[0] not in allowed] == []
    assert [each for each in flower if each in PRIVATE_FLOWER] == PRIVATE_FLOWER


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_nothing_of_flower_is_replaced_and_nothing_is_unpickled_from_disk(pattern):
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml")]
    files += [path for path in (ROOT / "notebooks").rglob("*") if path.suffix in (".ipynb", ".md", ".py")]
    found = [str(path.relative_to(ROOT)) for path in files if re.search(pattern, path.read_text("utf-8"))]
    assert sorted(found) == []


@pytest.mark.parametrize(
    "modules",
    ["config", "records", "plots", "data.tasks, fedprompt_helpers.data.partition, fedprompt_helpers.data.distance"],
)
@pytest.mark.slow
def test_no_torch_below_the_model(modules):
    code = f"import sys, fedprompt_helpers.{modules}; assert 'torch' not in sys.modules, 'torch is imported'"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_public_name_loads():
    import fedprompt_helpers as fp

    for name in fp.__all__:
        assert getattr(fp, name) is not None, name
    assert dir(fp) == sorted(fp.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'trainn'; public names: .*train"):
        _ = fp.trainn


def test_importing_the_package_loads_nothing():
    code = "import sys, fedprompt_helpers; assert not {'torch', 'flwr', 'pydantic', 'numpy'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
