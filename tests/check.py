"""Everything that must hold: ruff, codespell, pytest, nbval over every notebook: ``python -m tests.check``."""

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
    "pytest": ["pytest", "tests"],
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
}


def seconds_by_notebook(report: Path) -> Counter:
    """Add up the seconds of the cells of each notebook, from pytest's XML report."""
    seconds = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        seconds[case.get("classname").removeprefix("notebooks.")] += float(case.get("time"))
    return seconds


def main() -> int:
    """Run every step, even after one failed, and return 0 if all passed."""
    failed, folder = [], tempfile.TemporaryDirectory()
    report = Path(folder.name) / "notebooks.xml"
    STEPS["notebooks"] += ["--junitxml", str(report)]
    for name, arguments in STEPS.items():
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        # Two kernels with a thread for every core each would wait for one another most of the time.
        threads = {"OMP_NUM_THREADS": "1"} if name == "notebooks" else {}
        code = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **threads}).returncode
        if name == "notebooks" and report.exists():
            for notebook, seconds in sorted(seconds_by_notebook(report).items()):
                print(f"{notebook}: {seconds:.0f} s")
        print(f"== {name}: {'failed' if code else 'passed'} in {time.perf_counter() - began:.0f} s", flush=True)
        if code:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
