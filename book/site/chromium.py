"""Find and start Chromium, or a browser made from it: it prints the book and reads it in tests."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


class NoChromium(RuntimeError):
    """There is no Chromium; the message says what to do."""


def chromium() -> str:
    """Find the browser: on the ``PATH``, or where the variable ``CHROMIUM`` says.

    Raises
    ------
    NoChromium
        If there is none.
    """
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if not found:
        missing = f"{named} (named by CHROMIUM)" if named else "Chromium"
        raise NoChromium(
            f"{missing} was not found: install Chromium or Chrome (Debian: apt-get install chromium), or set CHROMIUM "
            "to its path"
        )
    return found


def launch(tools):
    """Start it without a window, with Playwright's `tools`."""
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-gpu"]
    # Chromium refuses to sandbox root, who runs the tests in most containers.
    sandbox = getattr(os, "geteuid", lambda: 1)() != 0
    return tools.chromium.launch(executable_path=chromium(), args=quiet, chromium_sandbox=sandbox)
