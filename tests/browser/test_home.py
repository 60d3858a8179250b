"""The first page: an answer, a federation that trains in the page, and the way into chapter 1."""

import re

import pytest

READY = "() => document.querySelector('.fp-fed .fp-said').textContent.startsWith('Round 20')"


@pytest.fixture
def home(visit):
    with visit("book/intro.html") as page:
        yield page
        assert page.trouble == []


def said(page) -> str:
    return page.locator(".fp-fed .fp-said").inner_text()


def test_the_next_page_is_chapter_1(home):
    assert home.locator("a.right-next").get_attribute("href").endswith("01_languages_and_borders.html")
    assert home.get_by_role("link", name="Start with chapter 1").get_attribute("href").endswith("_borders.html")


def test_a_federation_trains_in_the_page_by_keyboard_alone(home):
    assert said(home).startswith("6 clients with 8 sentences each.")
    button = home.locator(".fp-fed button[name=all]")
    button.focus()
    home.keyboard.press("Enter")
    home.wait_for_function(READY, timeout=60_000)
    together, alone, points = map(int, re.findall(r"[+−]?\d+(?=%| points)", said(home).replace("−", "-")))
    assert together - alone == pytest.approx(points, abs=1) and points >= 8  # with so few sentences sharing pays
    assert button.is_disabled()
    answers = home.locator(".fp-fed .fp-answers").inner_text()
    assert all(who in answers for who in ("right", "together", "alone", "pooled"))
    home.locator(".fp-fed [name=size]").focus()
    home.keyboard.press("End")
    assert said(home).startswith("6 clients with 48 sentences each.")


def test_noise_costs_accuracy_and_one_client_is_no_federation(home):
    noise = home.locator(".fp-fed [name=noise]")
    home.locator(".fp-fed button[name=all]").click()
    home.wait_for_function(READY, timeout=60_000)
    clean = int(re.search(r"together (\d+)%", said(home))[1])
    noise.focus()
    home.keyboard.press("End")
    home.locator(".fp-fed button[name=all]").click()
    home.wait_for_function(READY, timeout=60_000)
    assert int(re.search(r"together (\d+)%", said(home))[1]) < clean
    for box in home.locator(".fp-fed [name=on]").all()[1:]:
        box.uncheck()
    assert "Choose two languages or more" in said(home)
    assert home.locator(".fp-fed button[name=one]").is_disabled()


def test_on_a_telephone_nothing_is_wider_than_the_screen(visit):
    with visit("book/intro.html") as page:
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = page.locator(".fp-fed svg").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
