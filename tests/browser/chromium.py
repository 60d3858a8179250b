"""Find and start Chromium, or a browser made from it."""

import os
import shutil

NAMES = [os.environ.get("CHROMIUM") or "chromium", "chromium-browser", "google-chrome"]
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def launch(tools):
    """Start `CHROMIUM` without a window, with Playwright's `tools`."""
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-gpu"]
    # Chromium refuses to sandbox root, who runs the tests in most containers.
    sandbox = getattr(os, "geteuid", lambda: 1)() != 0
    return tools.chromium.launch(executable_path=CHROMIUM, args=quiet, chromium_sandbox=sandbox)
