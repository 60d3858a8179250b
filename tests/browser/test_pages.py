"""Every page as an offline reader meets it: complete, typeset, and readable on a telephone."""

import re

SETTLED = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  for (const image of document.images) image.loading = 'eager';
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}"""
BROKEN_IMAGES = "() => [...document.images].filter(i => !i.naturalWidth).map(i => 'image: ' + i.src)"
LEFT_ICONS = "() => [...document.querySelectorAll('i[class*=fa-], svg.fa-question')].map(i => 'icon: ' + i.className)"
FORMULAS = """() => {
  const raw = [...document.querySelectorAll('.math')];
  return {
    asked: raw.length,
    set: raw.filter(node => node.querySelector('mjx-container')).length,
    wrong: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(node => node.textContent),
    left: raw.map(node => node.textContent).filter(text => /\\\\[([]/.test(text)),
  };
}"""
TOO_WIDE = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll('main *')].filter(node => node.getBoundingClientRect().right > room + 1)
    .slice(0, 5).map(node => node.tagName + '.' + node.className + ' ' + node.textContent.slice(0, 40));
}"""


def test_every_page_is_whole_without_a_network(visit, pages, subtests):
    formulas = 0
    for name in pages:
        with subtests.test(name), visit(name) as page:
            page.evaluate(SETTLED)
            found = page.evaluate(FORMULAS)
            formulas += found["set"]
            assert found["asked"] == found["set"] and not found["wrong"] and not found["left"], found
            assert page.trouble + page.evaluate(BROKEN_IMAGES) + page.evaluate(LEFT_ICONS) == []
            assert len(page.locator("main h1").all()) == 1
    assert len(pages) > 10
    assert formulas > 50


def test_every_page_fits_a_telephone(visit, pages, subtests):
    for name in pages:
        with subtests.test(name), visit(name) as page:
            page.set_viewport_size({"width": 390, "height": 844})
            page.evaluate(SETTLED)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, page.evaluate(TOO_WIDE)


def test_the_first_page_leads_to_the_introduction(visit):
    with visit("index.html") as page:
        page.wait_for_url("**/book/intro.html")
        assert page.trouble == []


def test_search_finds_words_of_the_chapters(visit):
    with visit("search.html?q=Dirichlet") as page:
        page.wait_for_selector("#search-results li a")
        page.wait_for_function("() => /finished|found/i.test(document.querySelector('.search-summary')?.textContent)")
        assert "Who holds what" in page.locator("#search-results").inner_text()
        assert page.trouble == []


def test_search_says_that_it_found_nothing(visit):
    with visit("search.html?q=zxqvjwk") as page:
        page.wait_for_function("() => document.querySelector('.search-summary')")
        page.wait_for_function("() => /did not match/.test(document.querySelector('#search-results').textContent)")
        assert page.locator("#search-results li").count() == 0


def test_a_word_typed_into_the_search_field_leads_to_results(visit):
    with visit("book/intro.html") as page:
        page.keyboard.press("Control+k")
        field = page.locator("input[type=search]:focus")
        field.fill("majority class")
        field.press("Enter")
        page.wait_for_url(re.compile(r"search\.html\?q="))
        page.wait_for_selector("#search-results li a")
        assert page.trouble == []


def test_a_chapter_is_downloaded_as_its_notebook(visit, pages, site):
    import nbformat

    for name in (page for page in pages if page.startswith("notebooks/")):
        with visit(name) as page:
            page.locator("button[aria-label='Download this page']").click()
            with page.expect_download() as download:
                page.locator("a[download], .dropdown-download-buttons a", has_text=".ipynb").first.click()
            notebook = nbformat.read(download.value.path(), as_version=4)
        assert any(cell.cell_type == "code" and cell.outputs for cell in notebook.cells), name
        break
