"""Slides of each chapter: title, aims, pictures, predictions, quiz; nothing from elsewhere, nothing cut off."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from book.site.chromium import NoChromium, chromium, launch
from book.site.slides import deck, write_slides
from book.site.slides_plan import LONGEST, first_sentences, paragraphs, plain, plan
from book.site.vendor import NotVendored, vendored

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FEWEST_PICTURES = 2
BARE = 0.3
"""Share of slides, over all chapters, that may hold nothing but words."""


def chapter(path: Path):
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_gives_slides_that_teach_it_without_its_solutions(path):
    notebook = chapter(path)
    soup = BeautifulSoup(deck(notebook), "html.parser")
    slides = soup.select(".slides section section")
    headings = [
        slide.find(["h1", "h2"]).get_text(strip=True).rstrip("¶") for slide in slides if slide.find(["h1", "h2"])
    ]
    for wanted in ("What you will be able to do", "What came out", "Summary", "Quiz"):
        assert wanted in headings, wanted
    assert [heading for heading in headings if heading.lower().endswith("your prediction")]
    assert len(soup.select(".slides div.highlight")) >= 5  # code, where it is the point
    assert 12 < len(slides) < 80
    pictures = soup.select(".slides img")
    assert len(pictures) >= FEWEST_PICTURES
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in pictures)
    assert all(len(picture["alt"]) > 40 and "No description" not in picture["alt"] for picture in pictures)
    text = soup.get_text()
    assert not re.search(r"\{(term|cite|dropdown)[:}]|```|:::", text)
    for cell in notebook.cells:
        if "solution" in cell.metadata.get("tags", []):
            assert not [line for line in cell.source.splitlines() if len(line) > 40 and line in text]


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_nothing_is_loaded_from_elsewhere(path):
    soup = BeautifulSoup(deck(chapter(path)), "html.parser")
    loaded = [tag.get("src") or tag.get("href") for tag in soup.select("script[src], link[href], img, iframe")]
    assert {"vendor/reveal/dist/reveal.js", "vendor/mathjax/tex-chtml.js"} <= set(loaded)
    assert not [link for link in loaded if re.match(r"(https?:)?//", link)]
    assert not re.search(r"url\(['\"]?(https?:)?//|@import|import .* from", str(soup))


def test_after_a_guess_comes_what_was_shown_and_the_answer_that_the_chapter_folds():
    shown = nbformat.v4.new_code_cell("6 * 7", outputs=[nbformat.v4.new_output("stream", text="42\n")])
    texts = "# 1. Small", "## Sums\n\n**Guess:** how much?", "````{dropdown} Answer\nForty-two. A sum.\n````"
    title, guess, answer = [nbformat.v4.new_markdown_cell(text) for text in texts]
    slides = plan(nbformat.v4.new_notebook(cells=[title, guess, shown, answer]))
    told = [cell.source for cell in slides]
    assert "```python\n6 * 7\n```" in told  # what is about to run stands below the question
    where = told.index("## What came out")
    assert re.sub("<[^>]*>", "", told[where + 1]) == "42"
    assert told[where + 2] == "Forty-two. A sum."


def test_every_answer_waits_for_a_key():
    for path in CHAPTERS:
        cells = plan(chapter(path))
        answers = [cell for cell in cells if cell.source.startswith("**Answer.**")]
        questions = [cell for cell in cells if cell.source.startswith("## Quiz")]
        assert len(answers) == len(questions) >= 3, path.stem
        assert all(cell.metadata["slideshow"]["slide_type"] == "fragment" for cell in answers)


def test_text_is_cut_at_sentences_and_at_blank_lines():
    assert first_sentences(["One two. Three four. " + "Word " * LONGEST + "end."]) == "One two. Three four."
    assert first_sentences(["- a list", "A text."]) == "A text."
    assert list(paragraphs("a\nb\n\n```{x} y\nc\n\nd\n```\n\ne")) == ["a\nb", "```{x} y\nc\n\nd\n```", "e"]
    text = "The {term}`prompt\nencoder` of {term}`it <P-tuning>`, see [here](../x.md) {cite}`a2020b`."
    assert plain(text) == "The prompt\nencoder of it, see here."


def test_an_unknown_chapter_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        write_slides(["no_such"], tmp_path)


@pytest.mark.browser
def test_in_a_browser_nothing_is_cut_off_and_no_request_leaves(built):
    try:
        chromium()
        vendored("reveal.js")
        vendored("mathjax")
    except (NoChromium, NotVendored) as missing:
        pytest.skip(f"needs Chromium, reveal.js and MathJax: {missing}")
    from playwright.sync_api import sync_playwright

    written = sorted((built / "slides").glob("[0-9]*.html"))
    assert [path.stem for path in written] == [path.stem for path in CHAPTERS]
    assert (built / "slides/index.html").exists()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(120_000)
        outside, errors, bare, slides = [], [], 0, 0
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else outside.append(r.url))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in written:
            page.goto(path.as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady() && window.MathJax && MathJax.startup.promise")
            found = page.evaluate(
                """async () => {
                  await MathJax.startup.promise;
                  const high = [];
                  let bare = 0, all = 0;
                  for (const slide of Reveal.getSlides()) {
                    const {h, v} = Reveal.getIndices(slide);
                    Reveal.slide(h, v || 0);
                    const wide = [...slide.querySelectorAll('pre, table')].some(one => one.scrollWidth > 1280);
                    if (slide.scrollHeight > 720 || wide) high.push(slide.textContent.trim().slice(0, 40));
                    bare += !slide.querySelector('pre, img, table, mjx-container');
                    all += 1;
                    for (const line of slide.querySelectorAll('pre')) {
                      if (getComputedStyle(line).whiteSpace !== 'pre') high.push('breaks: ' + line.textContent);
                    }
                  }
                  return {high, bare, all};
                }"""
            )
            assert not found["high"], (path.stem, found["high"])
            bare, slides = bare + found["bare"], slides + found["all"]
            assert page.locator("mjx-merror").count() == 0
        browser.close()
    assert not outside and not errors
    assert bare <= BARE * slides
