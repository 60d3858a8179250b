"""Everything that must hold, in one command: ``python -m tests.check``; in a minute, the most of it: ``--quick``.

ruff, codespell, pyright, one build of the pages for all tests, pytest, nbval over every notebook, and the browser tests
over every page where there is a Chromium. Tests that need a graphics card run where there is one, and are named where
there is none. ``--quick`` leaves out pages, notebooks, browser and every test marked as slow.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent

# Files go to the worker that is free, in the order of collection: the longest come first, so that both end together.
TWO = ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
LONG = ("07", "05", "12", "06", "02", "03", "13")  # chapters that take minutes, the longest first
NOTEBOOKS = sorted(
    (path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")),
    key=lambda name: (LONG.index(name[10:12]) if name[10:12] in LONG else len(LONG), name),
)
STEPS = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "spelling": ["codespell_lib"],
    "types": ["pyright", "--pythonpath", sys.executable],
    "pages": ["book.site.build", "--no-run", "--output"],
    "pytest": ["pytest", "tests", "--ignore", "tests/browser", "--durations", "15", *TWO],
    "notebooks": ["pytest", "--nbval", *NOTEBOOKS, "--nbval-sanitize-with", "tests/nbval.cfg", *TWO],
    "browser": ["pytest", "tests/browser", "-rs", "--numprocesses", "2"],
}
QUICK = {name: STEPS[name] for name in ("ruff", "ruff format", "spelling", "types", "pytest")}
QUICK["pytest"] = [*QUICK["pytest"], "-m", "not slow and not browser and not notebooks and not gpu"]
for file in sorted((ROOT / "tests").glob("test_*.py")):  # a file that is slow as a whole is not even imported
    if "pytestmark = pytest.mark.slow" in file.read_text(encoding="utf-8"):
        QUICK["pytest"] += ["--ignore", str(file)]

# Two processes with a thread for every core each would wait for one another most of the time.
VARIABLES = {
    "pages": {"BOOK_REPOSITORY": ""},
    "pytest": {"OMP_NUM_THREADS": "1"},
    "notebooks": {"OMP_NUM_THREADS": "1"},
}
NO_CARD = "needs a CUDA card"


def seconds_by_notebook(report: Path) -> Counter:
    """Add up the seconds of the cells of each notebook, from pytest's XML report."""
    seconds = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        seconds[case.get("classname").removeprefix("notebooks.")] += float(case.get("time"))
    return seconds


def passed(report: Path) -> int:
    """Count the tests of pytest's XML report that ran and passed."""
    suites = list(ElementTree.parse(report).iter("testsuite"))
    return sum(
        int(suite.get("tests")) - sum(int(suite.get(x)) for x in ("skipped", "failures", "errors")) for suite in suites
    )


def without_card(report: Path) -> list[str]:
    """Name the tests of pytest's XML report that were skipped for want of a graphics card."""
    cases = ElementTree.parse(report).iter("testcase")
    skipped = {case: case.find("skipped") for case in cases}
    return [case.get("name") for case, why in skipped.items() if why is not None and NO_CARD in why.get("message", "")]


def main() -> int:
    """Run every step, even after one failed, and return 0 if all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="what takes at most a minute on two cores")
    steps = QUICK if parser.parse_args().quick else STEPS
    failed, skipped, folder = [], [], tempfile.TemporaryDirectory()
    shared, started = dict(os.environ), time.perf_counter()
    for name, arguments in steps.items():
        report = Path(folder.name) / f"{name}.xml"
        if arguments[0] == "pytest":
            arguments = [*arguments, "--junitxml", str(report)]
        if name == "pages":
            arguments = [*arguments, folder.name]
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        environment = {**shared, **VARIABLES.get(name, {})}
        code = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment).returncode
        if name == "pages" and not code:
            shared["BOOK_SITE"] = f"{folder.name}/_build/html"
        if name == "notebooks" and report.exists():
            for notebook, seconds in sorted(seconds_by_notebook(report).items()):
                print(f"{notebook}: {seconds:.0f} s")
        if name == "pytest" and report.exists() and (unseen := without_card(report)):
            skipped.append(f"{len(unseen)} tests for want of a graphics card ({', '.join(unseen)})")
        said = "failed" if code else "passed"
        if not code and report.exists() and not passed(report):
            said = "skipped as a whole, for the reason above,"
            skipped.append(name)
        print(f"== {name}: {said} in {time.perf_counter() - began:.0f} s", flush=True)
        if code:
            failed.append(name)
    print(f"in all {time.perf_counter() - started:.0f} s")
    if skipped:
        print(f"not tested here: {', '.join(skipped)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
