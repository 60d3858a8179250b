"""What the site costs its builder and its readers, beside the aims: ``python -m tests.benchmarks.site``.

Seconds to build all pages from the outputs stored in the notebooks; megabytes of the site; bytes over the wire and
first paint of each chapter in Chromium with an empty cache, from a server on localhost that compresses text as GitHub
Pages does. Exits with 1 if an aim is missed.
"""

import gzip
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from book.site.build import ROOT
from book.site.chromium import launch

AIMS = {"build": (60, "s"), "site": (40, "MB"), "wire": (1.5, "MB"), "paint": (1, "s")}
TEXTS = {".html", ".css", ".js", ".svg", ".json"}
REPEATS = 3
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


class Compressing(SimpleHTTPRequestHandler):
    """Serve files, texts with gzip, and count the bytes of their bodies by name."""

    sent: dict[str, int] = {}  # noqa: RUF012  one server at a time

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path.name))
        if path.suffix in TEXTS:
            body = gzip.compress(body, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.sent[path.name] = len(body)

    def log_message(self, *_):
        """Say nothing."""


def build(folder: Path) -> float:
    """Build every page from nothing and give the seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "book.site.build", "--no-run", "--output", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def read(site: Path) -> dict[str, tuple[float, float, str]]:
    """Open every chapter anew; give megabytes over the wire, seconds to first paint, and what weighs most."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressing, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = {}
    with sync_playwright() as tools:
        browser = launch(tools)
        for page in sorted((site / "notebooks").glob("*.html")):
            paints = []
            for _ in range(REPEATS):
                Compressing.sent.clear()
                context = browser.new_context()
                tab = context.new_page()
                tab.goto(f"http://127.0.0.1:{server.server_port}/notebooks/{page.name}", wait_until="networkidle")
                tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # images wait until they are near
                tab.wait_for_load_state("networkidle")
                paints.append(tab.evaluate(FIRST_PAINT) / 1000)
                context.close()
            heavy = sorted(Compressing.sent.items(), key=lambda item: -item[1])[:3]
            told = ", ".join(f"{name[-22:]} {size / 1000:.0f} kB" for name, size in heavy)
            found[page.stem] = (sum(Compressing.sent.values()) / 1e6, median(paints), told)
        browser.close()
    server.shutdown()
    return found


def main() -> int:
    """Print the table; return 1 if an aim is missed."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = build(Path(folder))
        site = Path(folder) / "_build/html"
        size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6
        chapters = read(site)
    rows = [("build", "every page", seconds, ""), ("site", "all files", size, "")]
    rows += [("wire", name, wire, told) for name, (wire, _, told) in chapters.items()]
    rows += [("paint", name, paint, "") for name, (_, paint, _) in chapters.items()]
    missed = 0
    for what, name, value, told in rows:
        aim, unit = AIMS[what]
        missed += value > aim
        print(
            f"{what:6} {name:28} {value:8.2f} {unit:2}  aim {aim:4} {'missed' if value > aim else 'reached':8} {told}"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
