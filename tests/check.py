"""Everything that must hold, in one command: ``python -m tests.check``.

ruff, codespell, pytest, nbval over every notebook, and the browser tests over every page where there is a Chromium.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent

STEPS = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "spelling": ["codespell_lib"],
    "pytest": ["pytest", "tests", "--ignore", "tests/browser"],
    "notebooks": [
        "pytest",
        "--nbval",
        "notebooks",
        "--nbval-sanitize-with",
        "tests/nbval.cfg",
        "--numprocesses",
        "2",
        "--dist",
        "loadfile",
    ],
    "browser": ["pytest", "tests/browser", "-rs"],
}


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


def main() -> int:
    """Run every step, even after one failed, and return 0 if all passed."""
    failed, skipped, folder = [], [], tempfile.TemporaryDirectory()
    for name, arguments in STEPS.items():
        report = Path(folder.name) / f"{name}.xml"
        if arguments[0] == "pytest":
            arguments = [*arguments, "--junitxml", str(report)]
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        # Two kernels with a thread for every core each would wait for one another most of the time.
        threads = {"OMP_NUM_THREADS": "1"} if name == "notebooks" else {}
        code = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **threads}).returncode
        if name == "notebooks" and report.exists():
            for notebook, seconds in sorted(seconds_by_notebook(report).items()):
                print(f"{notebook}: {seconds:.0f} s")
        said = "failed" if code else "passed"
        if not code and report.exists() and not passed(report):
            said = "skipped as a whole, for the reason above,"
            skipped.append(name)
        print(f"== {name}: {said} in {time.perf_counter() - began:.0f} s", flush=True)
        if code:
            failed.append(name)
    if skipped:
        print(f"not tested here: {', '.join(skipped)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
