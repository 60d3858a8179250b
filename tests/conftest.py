"""Settings for every test."""

import os

import pytest

import fedprompt_helpers  # noqa: F401  before PyTorch, whose threads read a setting when they are loaded
from book.chromium import NoChromium, launch
from book.chromium import chromium as find_chromium

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


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
