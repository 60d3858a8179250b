"""Tables as readers of the pages see them: numbers under their heads, and heads that say what they are heads of."""

import pandas as pd
from bs4 import BeautifulSoup

from book.site.tables import mended_table

FRAME = pd.DataFrame(
    {"setting": ["local", "federated"], "accuracy": [0.575, 0.552], "gain": ["", "+1.4 (-0.2 to 2.9)"]},
    index=pd.Index([16, 64], name="labels"),
)


def columns(text: str) -> dict[str, list]:
    table = BeautifulSoup(text, "html.parser").table
    heads = [cell for cell in table.thead.find_all("th")]
    rows = [row.find_all(["th", "td"]) for row in table.tbody.find_all("tr")]
    return {head.get_text(): [head, *(row[i] for row in rows)] for i, head in enumerate(heads)}


def is_number(cells: list) -> bool:
    assert len({"number" in cell.get("class", []) for cell in cells}) == 1  # the head stands where its numbers do
    return "number" in cells[0].get("class", [])


def test_numbers_stand_under_their_heads_in_one_row():
    made = mended_table(FRAME.to_html())
    assert made.count("<tr") == 3  # pandas wrote a second head row, for the index
    found = columns(made)
    assert list(found) == ["labels", "setting", "accuracy", "gain"]
    assert {name for name, cells in found.items() if is_number(cells)} == {"labels", "accuracy", "gain"}


def test_heads_say_what_they_are_heads_of():
    table = BeautifulSoup(mended_table(FRAME.to_html()), "html.parser").table
    assert all(cell["scope"] == "col" for cell in table.thead.find_all("th"))
    assert all(cell["scope"] == "row" for cell in table.tbody.find_all("th"))


def test_a_wide_table_scrolls_by_keyboard_in_a_named_box():
    box = BeautifulSoup(mended_table(FRAME.to_html()), "html.parser").div
    assert (box["tabindex"], box["aria-label"]) == ("0", "Table: labels, setting, accuracy, gain")


def test_words_with_digits_are_no_numbers():
    found = columns(mended_table(pd.DataFrame({"run": ["seed 1", "2nd"], "n": ["1,024", "16"]}).to_html()))
    assert not is_number(found["run"])
    assert is_number(found["n"])


def test_a_table_with_cells_of_several_columns_is_left_alone():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert mended_table(frame.to_html()) == frame.to_html()
