"""What a reader has done: kept in the browser, shown at the end of a chapter and in the list of all."""

import pytest

LIST = "book/students.html"


@pytest.fixture
def reader(visit):
    with visit(LIST) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        yield page
        assert page.trouble == []


def boxes(page, chapter: int):
    return (
        page.get_by_role("checkbox", name=f"read chapter {chapter}", exact=True),
        page.get_by_role("checkbox", name=f"exercises of chapter {chapter}", exact=True),
    )


def said(page) -> str:
    return page.locator(".fp-progress .fp-state").inner_text()


def test_the_list_names_every_chapter_once(reader, pages):
    chapters = [page for page in pages if page.startswith("notebooks/")]
    links = reader.locator(".fp-progress th a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == [f"../{chapter}" for chapter in chapters]
    assert said(reader) == f"0 of {2 * len(chapters)} done"
    for number in [int(page.removeprefix("notebooks/")[:2]) for page in chapters]:
        assert [box.count() for box in boxes(reader, number)] == [1, 1]


def test_a_mark_at_the_end_of_a_chapter_is_in_the_list_and_is_cleared_by_keyboard(reader, pages, address):
    number = 2 * sum(page.startswith("notebooks/") for page in pages)
    reader.goto(f"{address}/notebooks/02_prompt_tuning.html")
    _, exercises = boxes(reader, 2)
    exercises.focus()
    reader.keyboard.press("Space")
    assert said(reader) == f"1 of {number} done"
    reader.goto(f"{address}/notebooks/03_p_tuning.html")  # another chapter's mark is kept
    boxes(reader, 3)[0].check()
    assert said(reader) == f"2 of {number} done"
    reader.locator("aside.fp-progress a").click()
    reader.wait_for_url(f"**/{LIST}*")
    assert boxes(reader, 2)[1].is_checked() and boxes(reader, 3)[0].is_checked()
    assert not boxes(reader, 2)[0].is_checked()
    assert reader.get_by_role("progressbar").evaluate("bar => bar.position") == pytest.approx(2 / number)

    reader.locator(".fp-progress button").focus()
    reader.keyboard.press("Enter")
    assert reader.locator(".fp-progress input:checked").count() == 0
    reader.reload()
    assert said(reader) == f"0 of {number} done"
    reader.evaluate("localStorage.setItem('fedprompt-progress', 'spoiled')")
    reader.reload()
    assert said(reader) == f"0 of {number} done"
