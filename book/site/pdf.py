"""Print the built book into one PDF with headless Chromium: ``python -m book.site.pdf [HTML_FOLDER] [-o FILE]``.

Without ``-o`` it lies among the pages, and every page's download button leads to it. Chromium is found on ``PATH``, or
named by ``CHROMIUM``.
"""

import argparse
import logging
import mimetypes
import re
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pypdf import PdfReader, PdfWriter
from pypdf.generic import BooleanObject, DictionaryObject, NameObject

from book.site.build import ROOT
from book.site.chromium import NoChromium, launch
from book.site.print_page import UNKNOWN, Book, read_book, whole_book

BOOK = ROOT / "book"
ORIGIN = "http://book.localhost"
OLDEST = 131  # the first Chromium that prints margin boxes, so page numbers
# Wait for what a page still does: formulas, fonts, pictures. Then make what is too wide narrower.
SETTLE = """async () => {
  for (const button of document.querySelectorAll('.fp-fed button[name=all]')) button.click();  // 20 rounds
  const widgets = [...document.querySelectorAll('div:has(> script[type="application/json"])')];
  const empty = box => !box.matches('[data-ready]')
    || ![...box.querySelectorAll('svg')].every(one => one.childElementCount)
    || (box.querySelector('.fp-said') && !box.querySelector('.fp-said').textContent.trim())
    || (box.matches('.fp-fed') && !/^Round 20\\b/.test(box.querySelector('.fp-said').textContent));
  for (let tried = 0; tried < 100 && widgets.some(empty); tried++) await new Promise(done => setTimeout(done, 100));
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
  for (const box of document.querySelectorAll('table, .cell_output svg, mjx-container[display]')) {
    const room = box.parentElement.clientWidth;
    const wide = Math.max(box.scrollWidth || 0, box.getBoundingClientRect().width);
    if (room && wide > room + 1) box.style.zoom = room / wide;
  }
  for (const box of document.querySelectorAll('.print-opened, .output.text_html, .cell_input, .admonition'))
    if (box.getBoundingClientRect().height > 600) box.classList.add('print-long');
  return {
    formulas: document.querySelectorAll('.math').length,
    rendered: [...document.querySelectorAll('.math')].filter(math => math.querySelector('mjx-container')).length,
    errors: [...document.querySelectorAll('mjx-merror')].map(error => error.title || error.textContent),
    wide: [...document.querySelectorAll('pre, table, img, svg, mjx-container, form')]
      .filter(box => box.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map(box => `${box.closest('article').id}: ${box.textContent.slice(0, 60)}`),
    empty: widgets.filter(empty).map(box => `${box.closest('article').id}: ${box.className}`),
    pictures: [...document.images].filter(image => !image.naturalWidth).map(image => image.src.slice(0, 100)),
  };
}"""
NUMBER = """pages => {
  for (const place of document.querySelectorAll('[data-page-of]'))
    place.textContent = pages[place.dataset.pageOf];
}"""


class PrintError(RuntimeError):
    """The book cannot be printed as it is; the message says why and what to do."""


def serve(html: Path, whole: str, strangers: list[str]):
    """Answer the browser's requests from a folder, without a server; note requests that lead elsewhere."""

    def answer(route) -> None:
        url = urlsplit(route.request.url)
        path = html / unquote(url.path).lstrip("/")
        if f"{url.scheme}://{url.netloc}" != ORIGIN:
            strangers.append(route.request.url)
            route.abort()
        elif url.path == "/print.html":
            route.fulfill(body=whole, content_type="text/html; charset=utf-8")
        elif path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "text/plain")
        else:
            route.fulfill(status=404, body="")

    return answer


def page_numbers(pdf: Path) -> dict[str, int]:
    """Read on which page, counted from 1, each link target of a PDF lies."""
    reader = PdfReader(pdf)
    places = {name.removeprefix("/"): place for name, place in reader.named_destinations.items()}
    return {name: reader.get_destination_page_number(place) + 1 for name, place in places.items()}


def write_pdf(book: Book, html: Path, target: Path) -> int:
    """Print the pages of a book into one PDF and return its number of pages.

    The pages are printed twice: once to count them, and once with the numbers in the contents.

    Raises
    ------
    PrintError
        If a formula, a picture or a page number is missing.
    """
    from playwright.sync_api import sync_playwright

    whole, strangers = whole_book(book, html), []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        if int(browser.version.split(".")[0]) < OLDEST:
            raise PrintError(f"Chromium {browser.version} prints no page numbers: {OLDEST} or later is needed")
        page = browser.new_page(viewport={"width": 665, "height": 970})  # the text area of A4 in CSS pixels
        page.set_default_timeout(600_000)
        page.route("**/*", serve(html, whole, strangers))
        page.emulate_media(media="print", color_scheme="light")
        page.goto(f"{ORIGIN}/print.html", wait_until="load")
        check(page.evaluate(SETTLE), strangers)
        numbers, printed = {entry.target: UNKNOWN for entry in book.entries}, {}
        for _ in range(3):
            page.pdf(path=target, prefer_css_page_size=True, print_background=True, tagged=True)
            printed = page_numbers(target)
            missing = [entry.title for entry in book.entries if entry.target not in printed]
            if missing:
                raise PrintError(f"no page number for {', '.join(missing)}: the PDF has no such link target")
            if all(printed[name] == number for name, number in numbers.items()):
                break
            numbers = {name: printed[name] for name in numbers}
            page.evaluate(NUMBER, numbers)
        else:
            raise PrintError("the contents changed the pages they count, three times: is UNKNOWN as wide as a number?")
        browser.close()
    return finish(book, target, printed)


def check(state: dict, strangers: list[str]) -> None:
    """Stop if something that belongs on paper is not there."""
    outside = (
        f" (not loaded, they are not in the built folder: {', '.join(sorted(set(strangers))[:3])})" if strangers else ""
    )
    if state["rendered"] < state["formulas"]:
        bare = state["formulas"] - state["rendered"]
        raise PrintError(
            f"{bare} of {state['formulas']} formulas were not rendered{outside}: build with a local MathJax"
        )
    if state["errors"]:
        raise PrintError(f"MathJax could not read a formula: {state['errors'][0]}")
    if state["wide"]:
        raise PrintError(f"wider than the paper: {'; '.join(state['wide'])}")
    if state["empty"]:
        raise PrintError(f"widgets drew nothing: {', '.join(state['empty'])}")
    if state["pictures"]:
        raise PrintError(f"pictures are missing{outside}: {', '.join(state['pictures'])}")


def finish(book: Book, target: Path, printed: dict[str, int]) -> int:
    """Add the outline, name author and version, and have the PDF open with both in sight."""
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of a count in the browser's trailer, and mends it
    writer = PdfWriter(clone_from=target)
    above = [None, None, None]
    for entry in book.entries:  # the browser's own outline doubles titles at the top of a page
        parent = next((item for item in reversed(above[: entry.level]) if item), None)
        above[entry.level] = writer.add_outline_item(
            title=entry.title, page_number=printed[entry.target] - 1, parent=parent, is_open=entry.level < 1
        )
    writer.add_metadata(
        {"/Title": book.title, "/Author": book.author, "/Subject": f"Version {version('fedprompt-helpers')}"}
    )
    writer.page_mode = "/UseOutlines"
    shown = DictionaryObject({NameObject("/DisplayDocTitle"): BooleanObject(True)})
    writer.root_object[NameObject("/ViewerPreferences")] = shown
    writer.write(target)
    return len(writer.pages)


MENU = re.compile(r'(<div class="dropdown dropdown-download-buttons">.*?)(\s*</ul>)', re.DOTALL)
ENTRY = """
<li class="fp-book-pdf"><a href="{}" class="btn btn-sm dropdown-item" title="The whole book on paper">
<span class="btn__icon-container"><i class="fas fa-file"></i></span>
<span class="btn__text-container">Whole book (PDF)</span></a></li>"""


def link_pdf(html: Path, target: Path) -> int:
    """Put a PDF that lies among the pages under the download button of each; give the number of pages that have one."""
    linked = 0
    for page in html.rglob("*.html"):
        text = page.read_text("utf-8")
        if MENU.search(text) and "fp-book-pdf" not in text:
            entry = ENTRY.format("../" * len(page.relative_to(html).parents[1:]) + target.relative_to(html).as_posix())
            text = MENU.sub(lambda found, entry=entry: found[1] + entry + found[2], text, count=1)
            page.write_text(text, "utf-8")
        linked += "fp-book-pdf" in text
    return linked


def main() -> int:
    """Print the book; return 0 if it worked."""
    parser = argparse.ArgumentParser(prog="python -m book.site.pdf", description="Print the built book into one PDF.")
    parser.add_argument("html", nargs="?", type=Path, default=BOOK / "_build/html", help="folder of the built pages")
    parser.add_argument("-o", "--output", type=Path, help="where the PDF goes; default: book.pdf among the pages")
    given = parser.parse_args()
    output = given.output or given.html / "book.pdf"
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        pages = write_pdf(read_book(BOOK / "_config.yml", BOOK / "_toc.yml"), given.html, output)
    except (PrintError, NoChromium, FileNotFoundError, ValueError) as problem:
        print(f"stopped: {problem}", file=sys.stderr)
        return 1
    if not given.output:
        link_pdf(given.html, output)
    print(f"{pages} pages, {output.stat().st_size / 1e6:.1f} MB: {output.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
