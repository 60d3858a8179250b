"""What a reader does with a page besides reading: skip to it by keyboard, darken it, search, download."""

import re

import pytest

from book.site.build import ROOT

BRIGHTNESS = """name => {
  const of = colour => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3)
      .map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  return [of(paper), of(getComputedStyle(document.querySelector(name)).color)];
}"""


def test_the_first_tab_skips_to_the_text(visit):
    with visit("notebooks/04_who_holds_what.html") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main-content"
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_the_switch_darkens_the_page_and_it_stays_dark(visit):
    with visit("notebooks/04_who_holds_what.html", color_scheme="light") as page:
        paper, ink = page.evaluate(BRIGHTNESS, "main p")
        assert (paper + 0.05) / (ink + 0.05) > 7
        switch = page.locator(".theme-switch-button:visible").first
        for _ in range(3):  # light, dark, as the system has it, from wherever it stands
            if page.evaluate("document.documentElement.dataset.theme") == "dark":
                break
            switch.click()
        page.reload()
        paper, ink = page.evaluate(BRIGHTNESS, "main p")
        assert (ink + 0.05) / (paper + 0.05) > 7
        assert page.trouble == []


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


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("privacy", "15. Privacy and trust"),
        ("deployment", "16. From simulation to a real federation"),
        ("deploy", "16. From simulation to a real federation"),
        ("LoRA", "3. P-tuning and its relatives"),
        ("seeds", "8. Results: seeds, intervals, and the paper’s claims beside ours"),
        ("certificate", "16. From simulation to a real federation"),
    ],
)
def test_search_leads_to_the_chapter_that_is_about_a_word(typed, found, visit):
    with visit("search.html") as page:
        field = page.locator("main input[name=q], article input[name=q], .bd-article input[type=search]").first
        field.fill(typed)
        field.press("Enter")
        page.wait_for_function("() => /finished|found/i.test(document.querySelector('.search-summary')?.textContent)")
        titles = page.locator("#search-results li > a").all_inner_texts()
        assert found in titles[:10], titles
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


def test_a_chapter_is_downloaded_as_its_notebook(visit):
    with visit("notebooks/04_who_holds_what.html") as page:
        page.get_by_role("button", name="Download this page").click()
        link = page.get_by_role("link", name=".ipynb")
        link.wait_for(state="visible")
        got = page.request.get(link.evaluate("node => node.href"))
        assert got.body() == (ROOT / "notebooks/04_who_holds_what.ipynb").read_bytes()


def test_a_picture_keeps_its_text_readable_on_a_telephone(visit, pages):
    for name in ["book/all_results.html", *[page for page in pages if page.startswith("notebooks/")][::3]]:
        with visit(name) as page:
            page.set_viewport_size({"width": 390, "height": 844})
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            page.evaluate("document.querySelectorAll('.toggle-hidden').forEach(one => one.className = '')")
            shown = page.locator(".picture-box img").evaluate_all(
                """async all => Promise.all(all.map(async one => {
                  one.loading = 'eager';
                  await one.decode();
                  const natural = getComputedStyle(one).getPropertyValue('--natural');
                  return [one.getBoundingClientRect().width / parseFloat(natural), one.src];
                }))"""
            )
            assert shown and [one for one in shown if one[0] < 0.81] == [], name
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
