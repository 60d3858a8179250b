"""The book as one PDF: contents with right page numbers, formulas, pictures, solutions, nothing of the screen."""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from pypdf import PdfReader

from book.site.chromium import NoChromium, chromium
from book.site.pdf import PrintError, check, link_pdf, write_pdf
from book.site.print_page import fold, read_book, relink, whole_book
from book.site.vendor import NotVendored, vendored

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["book/glossary", "notebooks/05_fedavg"]


def words(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))  # letters joined in print count one by one


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Two real pages of the book, built and printed: what the printer knows of them, and the PDF."""
    try:
        chromium()
        vendored("mathjax")
    except (NoChromium, NotVendored) as missing:
        pytest.skip(f"needs Chromium and MathJax: {missing}")
    folder = tmp_path_factory.mktemp("pdf")
    contents = folder / "_toc.yml"
    contents.write_text(yaml.safe_dump({"format": "jb-book", "root": PAGES[0], "chapters": [{"file": PAGES[1]}]}))
    command = [sys.executable, "-W", "ignore", "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--config", "book/_config.yml", "--toc", str(contents), "--path-output", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    book = read_book(ROOT / "book/_config.yml", contents)
    html = folder / "_build/html"
    count = write_pdf(book, html, html / "book.pdf")
    reader = PdfReader(html / "book.pdf")
    assert len(reader.pages) == count > 15
    return book, reader, html


def test_contents_name_the_page_where_each_section_begins(printed):
    book, reader, _ = printed
    pages = [page.extract_text() for page in reader.pages]
    first = next(number for number, page in enumerate(pages) if "aggregation" in page)
    listed = [line for page in pages[1:first] for line in page.splitlines()]
    assert {"Summary", "Exercises", "Quiz"} <= {entry.title for entry in book.entries}
    for entry in book.entries:
        numbers = [line.split()[-1] for line in listed if words(line).rstrip("0123456789") == words(entry.title)]
        assert len(numbers) == 1, entry.title
        title = re.sub(r"^\d+ +", "", entry.title)  # the number of a chapter stands in the contents alone
        assert words(title) in words(pages[int(numbers[0]) - 1]), entry.title


def test_every_page_but_the_cover_shows_its_number(printed):
    _, reader, _ = printed
    for number, page in enumerate(reader.pages, start=1):
        above_and_below = page.extract_text().splitlines()[:2]  # margins come first in what a PDF says
        assert (str(number) in above_and_below) == (number > 1), number


def test_the_outline_leads_to_the_same_pages_as_the_contents(printed):
    book, reader, _ = printed

    def flat(items):
        for item in items:
            if isinstance(item, list):
                yield from flat(item)
            else:
                yield item.title, reader.get_destination_page_number(item)

    outline = list(flat(reader.outline))
    assert [title for title, _ in outline] == [entry.title for entry in book.entries]
    for title, page in outline:
        assert words(re.sub(r"^\d+ +", "", title)) in words(reader.pages[page].extract_text()), title
    assert reader.metadata.title == book.title
    assert reader.page_mode == "/UseOutlines"


def test_formulas_pictures_and_solutions_are_there_and_nothing_of_the_screen(printed):
    _, reader, _ = printed
    text = "".join(page.extract_text() for page in reader.pages)
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"].get("/Font", {}).values()]
    described = [font["/FontDescriptor"].get("/FontName", "") for font in fonts if "/FontDescriptor" in font]
    assert any("MathJax_Math" in name for name in described), described
    assert "$$" not in text and r"\(" not in text and r"\frac" not in text
    assert sum(len(page.images) for page in reader.pages) >= 4
    assert "defis_sound(" in words(text)  # a solution
    assert "MOVES,STAYS" not in words(text)  # code that only draws a picture
    for button in ("Show code", "Hide code", "Copy", "Search", "Light"):
        assert not re.search(rf"\b{button}\b", text), button  # LightSet is a label


def test_links_between_pages_stay_inside_the_document(printed):
    _, reader, _ = printed
    annotations = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    outside = [str(note["/A"]["/URI"]) for note in annotations if "/URI" in note.get("/A", {})]
    assert not [link for link in outside if "localhost" in link or link.startswith("file:")]
    inside = {str(note["/Dest"]).removeprefix("/") for note in annotations if "/Dest" in note}
    assert "book-glossary--term-round" in inside
    assert inside <= {name.removeprefix("/") for name in reader.named_destinations}


def test_widgets_are_drawn_and_their_buttons_left_out(printed):
    book, reader, html = printed
    text = words("".join(page.extract_text() for page in reader.pages))
    assert "Round20:together" in text  # the federation that trains in the page
    assert "Round16of16" in text  # the player of rounds
    assert "Train20rounds" not in text and "Startagain" not in text
    assert 'name="all"' in whole_book(book, html)  # its script looks for the button


def test_a_widget_that_draws_nothing_stops_the_printer():
    state = {"rendered": 0, "formulas": 0, "errors": [], "wide": [], "pictures": [], "empty": ["notebooks-05: fp-fed"]}
    with pytest.raises(PrintError, match="widgets drew nothing: notebooks-05: fp-fed"):
        check(state, [])


def test_every_figure_is_printed_with_its_caption(printed):
    _, reader, html = printed
    text = words("".join(page.extract_text() for page in reader.pages))
    soup = BeautifulSoup((html / "notebooks/05_fedavg.html").read_text("utf-8"), "html.parser")
    captions = [words(one.get_text()) for one in soup.select("figcaption .caption-text")]
    assert len(captions) == len(soup.select("article figure")) > 4
    assert [caption for caption in captions if caption[:60] not in text] == []


def test_the_download_button_of_each_page_leads_to_the_pdf(printed):
    _, _, html = printed
    for _ in range(2):  # printing again adds nothing
        assert link_pdf(html, html / "book.pdf") == len(PAGES)
    for name in PAGES:
        soup = BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")
        (link,) = soup.select(".dropdown-download-buttons .fp-book-pdf a")
        assert ((html / name).parent / str(link["href"])).resolve() == (html / "book.pdf").resolve()


def test_two_pages_may_use_the_same_id():
    soup = BeautifulSoup(
        '<p id="a"><a href="b.html#a">x</a> <a href="#a">y</a> <a href="no.html">z</a></p>', "html.parser"
    )
    relink(soup, "part/c", {"part/b", "part/c"})
    assert soup.p["id"] == "part-c--a"
    assert [link.get("href") for link in soup.select("a")] == ["#part-b--a", "#part-c--a", None]


def test_only_solutions_open_and_drawing_code_goes():
    box = "<details><summary>Show</summary><pre>{}</pre></details>"
    page = f'<div class="cell tag_solution tag_hide-cell">{box.format("solved")}</div>'
    page += f'<div class="cell tag_hide-input">{box.format("drawing")}<div class="cell_output"><img></div></div>'
    page += f'<div class="cell tag_hide-input">{box.format("data")}</div>'
    soup = BeautifulSoup(page, "html.parser")
    fold(soup, soup)
    assert soup.get_text(" ", strip=True) == "Solution solved data"


def test_a_book_that_was_not_built_and_a_missing_browser_are_named(tmp_path, monkeypatch):
    result = subprocess.run([sys.executable, "-m", "book.site.pdf", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "build the book first" in result.stderr
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nothing"))
    with pytest.raises(NoChromium, match="CHROMIUM"):
        chromium()
