"""Run a small real federation, render the book, and say where it is: ``python -m book.build``."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL_RUN = "run --languages en,de,cy,ga,is --train-size 48 --rounds 3 --local-epochs 2 --seed 0 --again"


def main() -> int:
    """Return 0 if both steps worked."""
    steps = [
        ("a small federation: five languages, three rounds", ["-m", "fedprompt_helpers", *SMALL_RUN.split()]),
        (
            "the book",
            [
                "-c",
                "from jupyter_book.cli.main import main; main()",
                "build",
                ".",
                "--config",
                "book/_config.yml",
                "--toc",
                "book/_toc.yml",
                "--path-output",
                "book",
                "--warningiserror",
                "--keep-going",
                "--quiet",
            ],
        ),
    ]
    for name, arguments in steps:
        print(f"== {name}", flush=True)
        # Python's own warnings about dependencies are not this book's; Sphinx's warnings stay errors.
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment).returncode
        if code:
            print(f"stopped: {name} failed (exit code {code}); its message is above", file=sys.stderr)
            return code
    print(f"the book: {(ROOT / 'book/_build/html/index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
