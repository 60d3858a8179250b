"""Settings for every test."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

import fedprompt_helpers  # noqa: F401  before PyTorch, whose threads read a setting when they are loaded
from book.site.build import ROOT
from book.site.chromium import NoChromium, launch
from book.site.chromium import chromium as find_chromium

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


# Files that take a minute and more: two workers end together if these begin first.
LONG = ("runtimes", "assignment", "runs", "federation", "faults", "versions", "training", "head_start", "slides", "pdf")


def pytest_collection_modifyitems(items):
    """Begin with the longest files; mark what waits for pages or a browser, so that `make quick` leaves it out."""
    rank = {f"test_{name}": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))
    for item in items:
        if {"built", "published", "printed", "some_chromium"} & set(item.fixturenames):
            item.add_marker("slow")


def pytest_runtest_setup(item):
    """Skip what needs a graphics card where there is none; `tests.check` names what was skipped so."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA card")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder of the book's pages, without a repository and with warnings as errors, built once for all workers.

    ``BOOK_SITE`` names a folder of pages that are built already: `tests.check` builds once for all its steps.
    """
    if named := os.environ.get("BOOK_SITE"):
        return Path(named).resolve()
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the folder that workers share
    html, told = base / "pages/_build/html", base / "pages/stderr.txt"
    with FileLock(base / "pages.lock"):
        if not told.exists():
            command = [sys.executable, "-m", "book.site.build", "--no-run", "--output", str(base / "pages")]
            environment = {**os.environ, "BOOK_REPOSITORY": ""}
            result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            told.parent.mkdir(exist_ok=True)
            told.write_text(result.stderr if result.returncode else "", "utf-8")
    trouble = told.read_text("utf-8")[-3000:]
    assert not trouble, trouble
    return html


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory) -> str:
    """A folder with a small random XLM-R, where a pretrained one proves nothing more.

    Its tokenizer is the pocket one with the 6,000 most frequent pieces of 250,000, which take seconds to read.
    """
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from fedprompt_helpers.model.pocket import load_tokenizer, pocket_folder

    folder = tmp_path_factory.mktemp("tiny")
    whole = json.loads((pocket_folder() / "tokenizer.json").read_text("utf-8"))
    pieces, mask = whole["model"]["vocab"], whole["added_tokens"][-1]
    whole["model"]["vocab"] = [*pieces[:6000], pieces[mask["id"]]]
    mask["id"] = 6000
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    tokenizer = load_tokenizer(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    model = XLMRobertaModel(XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=130, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def preloaded():
    """Commands in processes that begin with PyTorch and Flower loaded; see `tests.preloaded`."""
    folder = tempfile.TemporaryDirectory(dir="/tmp")  # the name of a socket must be short
    path, program = Path(folder.name) / "socket", Path(__file__).with_name("preloaded.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    server = subprocess.Popen(
        [sys.executable, "-P", str(program), "serve", str(path)], stdin=subprocess.PIPE, env=environment
    )

    def give(run: str | Path, *arguments) -> list[str]:
        while not path.exists():
            assert server.poll() is None, "the server of tests.preloaded has ended"
            time.sleep(0.05)
        return [sys.executable, "-S", str(program), str(path), str(run), *map(str, arguments)]

    yield give
    server.stdin.close()
    server.wait()
    folder.cleanup()


@pytest.fixture(scope="session")
def some_chromium():
    """Skip what needs a browser where there is none."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install .[test]")
    try:
        find_chromium()
    except NoChromium as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chromium(some_chromium):
    """Chromium, closed after the tests of a file: Playwright runs once at a time in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        browser = launch(tools)
        yield browser
        browser.close()
