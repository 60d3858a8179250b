"""Tables of the built pages: one head row, numbers under their heads, scopes, and a box that scrolls."""

import re

from bs4 import BeautifulSoup, Tag

TABLE = re.compile(
    r'<table(?=[^>]*class="(?:[^"]*\s)?(?:dataframe|table|colwidths-\w+)[\s"])[^>]*>.*?</table>', re.DOTALL
)
STYLE = re.compile(r"<style scoped>\s*\.dataframe.*?</style>\s*", re.DOTALL)  # that pandas writes above each table
NUMBER = re.compile(
    r"[-+−±]?\d[\d,.\u2009]*(?:e[-+]?\d+)?\s*(?:%|MB|GB|kB|s|h|×)?(?:\s*\([^)]*\d[^)]*\))?(?:\s*±\s*[\d.]+)?"
)
NOTHING = ("", "nan", "NaN", "–", "-", "none", "None")
BOX = '<div class="table-box" tabindex="0" role="region" aria-label="{}">{}</div>'


def mend_tables(text: str) -> str:
    """Mend the tables of a page."""
    return STYLE.sub("", TABLE.sub(lambda found: mended_table(found[0]), text))


def mended_table(text: str) -> str:
    """Return a table whose heads have scopes and whose columns of numbers have the class ``number``."""
    table = BeautifulSoup(text, "html.parser").table
    head, bodies = table.thead, table.find_all("tbody", recursive=False)
    if head is None or not bodies or table.find(attrs={"colspan": True}) or table.find(attrs={"rowspan": True}):
        return text
    _one_row(head)
    heads = head.tr.find_all(["th", "td"], recursive=False)
    for cell in heads:
        cell["scope"] = "col"
    rows = [row.find_all(["th", "td"], recursive=False) for body in bodies for row in body.find_all("tr")]
    for row in rows:
        for cell in [cell for cell in row if cell.name == "th"]:
            cell["scope"] = "row"
    for number, title in enumerate(heads):
        column = [row[number] for row in rows if number < len(row)]
        told = [words for cell in column if (words := cell.get_text(" ", strip=True)) not in NOTHING]
        if told and all(NUMBER.fullmatch(words) for words in told):
            for cell in (title, *column):
                cell["class"] = [*cell.get("class", []), "number"]
    if "dataframe" not in table.get("class", []):
        return str(table)  # the theme has put a box around it
    table.attrs.pop("border", None)
    name = ", ".join(filter(None, (cell.get_text(" ", strip=True) for cell in heads)))
    return BOX.format(f"Table: {name}".replace('"', ""), table)


def _one_row(head: Tag) -> None:
    """Put the names of an index, for which pandas writes a row of its own, beside those of the columns."""
    rows = head.find_all("tr", recursive=False)
    for row in rows:
        row.attrs.pop("style", None)
    if len(rows) != 2:
        return
    above, below = (row.find_all(["th", "td"], recursive=False) for row in rows)
    if len(above) == len(below) and not any(
        a.get_text(strip=True) and b.get_text(strip=True) for a, b in zip(above[1:], below[1:], strict=True)
    ):
        for a, b in zip(above, below, strict=True):
            if b.get_text(strip=True):
                a.clear()
                a.append(b.get_text(strip=True))
        rows[1].decompose()
