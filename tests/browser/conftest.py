"""The built site on localhost, and a Chromium that reaches nothing else.

``CHROMIUM`` names the browser if it is not on the PATH, ``BOOK_SITE`` a folder of pages to test instead of a new build,
``BROWSER_WAIT`` the seconds to wait for a page (60; more where other programs keep the cores busy).
"""

import os
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from book.site.vendor import NotVendored, vendored

WAIT = 1000 * int(os.environ.get("BROWSER_WAIT") or 60)


@pytest.fixture(scope="session")
def site(some_chromium, built):
    """The folder of the built pages, which must work offline."""
    if not (built / "vendor/mathjax").is_dir():
        pytest.skip(f"{built} was built without MathJax: build it again with npm (part of Node.js) and a network")
    return built


@pytest.fixture(scope="session")
def pages(site) -> list[str]:
    """Every page, relative to the site; the first page of all only leads on to the introduction."""
    found = sorted(page.relative_to(site).as_posix() for page in site.rglob("*.html"))
    return [page for page in found if not page.startswith("_") and page != "index.html"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing: what is missing is found by the tests."""


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what readers with disabilities would stumble over."""
    try:
        return (vendored("axe-core") / "axe.min.js").read_text(encoding="utf-8")
    except NotVendored as error:
        pytest.skip(f"accessibility checks need axe-core: {error}")


@pytest.fixture(scope="module")
def visit(chromium, address):
    """Open a page as a reader who is offline does; ``page.trouble`` collects what goes wrong on it."""

    @contextmanager
    def open_page(name: str, **settings):
        context = chromium.new_context(viewport={"width": 1280, "height": 800}, **settings)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.trouble = []

        def only_this_site(route):
            if urlsplit(route.request.url).hostname == "127.0.0.1":
                return route.continue_()
            page.trouble.append(f"a request left the site: {route.request.url}")
            return route.abort()

        context.route("**/*", only_this_site)
        page.on("console", lambda said: said.type == "error" and page.trouble.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: page.trouble.append(f"script: {error}"))
        page.on("response", lambda got: got.status >= 400 and page.trouble.append(f"{got.status}: {got.url}"))
        page.goto(f"{address}/{name}", wait_until="load")
        try:
            yield page
        finally:
            context.close()

    return open_page
