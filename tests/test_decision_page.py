"""The decision page without a browser: its script answers from its rows, and refuses where there is none."""

import pandas as pd
import pytest

from book.widgets.base import read
from book.widgets.decision_page import COLUMNS, decision_page
from tests.pages import Page, needs_node, node

JOIN = (16, 7, "one message", 19.15, 16.23, 22.07, 19.15, "som", 5.9, "join")
STAY = (256, 4, "one message", -5.56, -6.7, -4.4, -7.91, "sna", 6.0, "do not join")
TABLE = pd.DataFrame([JOIN, STAY], columns=COLUMNS)
DOM = """
const part = () => ({textContent: '', namespaceURI: '', children: [], setAttribute() {},
  appendChild(node) { this.children.push(node); return node; }, replaceChildren() { this.children = []; }});
const document = {createElementNS: part, querySelectorAll: () => []}, parts = {};
const form = {elements: [], addEventListener() {}};
for (const name of ['labels', 'partners', 'topics', 'own']) form.elements[name] = {value: INPUT.asked[name]};
parts.form = form;
const root = {querySelector: name => parts[name] ??= part(), querySelectorAll: () => []};
"""
AFTER = """
render({el: root, model: {get: name => ({data: INPUT.data})[name], on() {}}});
console.log(JSON.stringify([parts['.fp-said'].textContent,
  (parts['.fp-table']?.children ?? []).map(row => row.children.map(cell => cell.textContent))]));
"""


def told(**changed):
    asked = {"labels": 16, "partners": 9, "topics": 7, "own": 0} | changed
    script = (read("base.js") + read("decision_page.js")).replace("export default ", "")
    return node(DOM + script + AFTER, {"asked": asked, "data": Page(decision_page(TABLE).html).payload()})


@needs_node
def test_it_says_what_the_row_says():
    said, (_, row) = told()
    assert "ten seeds" in said
    assert row == ["one message", "join", "+19.2", "+16.2 to +22.1", "+19.2 (som)", "5.9"]
    assert told(labels=256, topics=4)[1][1][:3] == ["one message", "do not join", "−5.6"]


@needs_node
@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"labels": 100}, "No run here has 100 labels per language; nearest is 16."),
        ({"partners": 4}, "No run here has 4 partners; nearest is 9."),
        ({"topics": 3}, "No run here has 3 shared topics; nearest is 4."),
        ({"own": 2}, "No run here has 2 topics that no partner has; nearest is 0."),
    ],
)
def test_it_refuses_where_there_is_no_row(changed, line):
    assert told(**changed) == [line, []]
