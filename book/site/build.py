"""Run a small real federation, render the book, and say where it is: ``python -m book.site.build``.

``python -m book.site.build --no-run`` renders the pages alone, from the outputs that are stored in the notebooks.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL_RUN = "run --languages en,de,cy,ga,is --train-size 48 --rounds 3 --local-epochs 2 --seed 0 --again"


def pages_command(output: Path) -> list[str]:
    """Return the arguments for Python that render all pages anew into ``output/_build/html``, from the root."""
    command = "build . --config book/_config.yml --toc book/_toc.yml --all --warningiserror --keep-going --quiet"
    return ["-c", "from jupyter_book.cli.main import main; main()", *command.split(), "--path-output", str(output)]


def main() -> int:
    """Return 0 if every step worked."""
    parser = argparse.ArgumentParser(description="Render the book.")
    parser.add_argument("--no-run", action="store_true", help="leave the small federation out")
    parser.add_argument("--output", type=Path, default=ROOT / "book", help="the pages go to OUTPUT/_build/html")
    given = parser.parse_args()
    output = given.output.resolve()
    steps = {"the book": pages_command(output)}
    if not given.no_run:
        run = ["-m", "fedprompt_helpers", *SMALL_RUN.split()]
        steps = {"a small federation: five languages, three rounds": run} | steps
    for name, arguments in steps.items():
        print(f"== {name}", flush=True)
        # Python's own warnings about dependencies are not this book's; Sphinx's warnings stay errors.
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment).returncode
        if code:
            print(f"stopped: {name} failed (exit code {code}); its message is above", file=sys.stderr)
            return code
    print(f"the book: {(output / '_build/html/index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
