"""The bill calculator without a browser: embedded numbers are counted ones, and its script is really run."""

import re
from pathlib import Path

import pytest

from book.research.store import Store
from book.widgets.base import read
from book.widgets.bill_calculator import WIDTHS, bill, bill_calculator
from fedprompt_helpers.config import CHOICES, METHODS
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.model.counting import count_without_weights
from tests.pages import Page, needs_node, node

pytestmark = pytest.mark.slow

RECORDS = Path(__file__).resolve().parent.parent / "book/results/records.jsonl"
BACKBONES = {"pocket": "pocket", "base": "FacebookAI/xlm-roberta-base"}

# As much of a page as the script asks for: fields with values, and parts whose text can be read afterwards.
DOM = """
const parts = {}, part = sel => parts[sel] ??= {textContent: '', style: {}, setAttribute(k, v) { this[k] = v; }};
const names = ['backbone', 'method', 'clients', 'rounds', 'precision', 'scoring'];
const elements = names.map(name => ({name, dataset: {}}));
elements.push({name: 'own', dataset: {}, addEventListener() {}});  // shown in a notebook alone
for (const field of elements) elements[field.name] = field;
part('script').textContent = INPUT.payload;
const listen = (kind, f) => { if (kind === 'input') part('form').changed = f; };
Object.assign(part('form'), {elements, addEventListener: listen});
const set = setting => names.forEach((name, i) => {
  elements[name][name === 'scoring' ? 'checked' : 'value'] = setting[i];
});
const document = {querySelectorAll: () => [{dataset: {}, querySelector: part}]};
set(INPUT.settings[0]);
"""
AFTER = """
console.log(JSON.stringify(INPUT.settings.map(setting => {
  set(setting);
  part('form').changed();
  const texts = {hidden: part('dl').hidden, width: part('i').style.width, label: part('.fp-bar')['aria-label']};
  for (const name of ['trained', 'update', 'total', 'share', 'said']) texts[name] = part('.fp-' + name).textContent;
  return texts;
})));
"""


@pytest.fixture(scope="module")
def page():
    return bill_calculator().html


@pytest.fixture(scope="module")
def counts(page):
    return Page(page).payload()["counts"]


@pytest.mark.parametrize("method", METHODS)
def test_embedded_numbers_are_those_of_the_accounting(counts, method):
    for key, name in BACKBONES.items():
        found = count_without_weights(name, method, num_labels=12)
        assert counts[key][method] == found["trainable"]
        assert 4 * counts[key]["full"] == found["full_model_bytes"]
    assert counts["large"][method] > counts["base"][method]


def test_xlmr_large_has_the_size_that_its_paper_states(counts):
    width, labels, tokens = 1024, 12, 8
    head = width * width + width + width * labels + labels
    assert counts["large"]["head"] == head
    assert counts["large"]["prompt-tuning"] == head + tokens * width
    assert round(counts["large"]["full"] / 1e8) in (5, 6)  # 550 million, rounded there


def test_labels_and_virtual_tokens_are_those_asked_for():
    page = bill_calculator(num_labels=10, virtual_tokens=20).html
    assert Page(page).payload()["counts"]["base"]["prompt-tuning"] == 604_426 + 12 * 768
    assert "10 labels, 20 virtual tokens" in page


def test_every_precision_of_updates_can_be_chosen(page):
    assert tuple(WIDTHS) == CHOICES["update_precision"]
    assert Page(page).payload()["widths"] == {name: list(widths) for name, widths in WIDTHS.items()}


def test_the_formula_is_what_was_measured_but_for_packaging():
    checked = 0
    for record in Store(RECORDS):
        config, rounds = record["config"], record.get("rounds", [])
        if not rounds or config["head"] == "local" or any(entry["failed"] for entry in rounds):
            continue
        numbers, model = record["message_parameters"], record["parameters"]["full_model_bytes"] // 4
        found = bill(numbers, model, len(record["clients"]), len(rounds), 1, WIDTHS[config["update_precision"]])
        measured = sum(sum(entry["bytes"].values()) for entry in rounds)
        messages = 4 * len(rounds) * len(record["clients"])  # to train and to score, there and back
        assert found["total"] < measured < 1.01 * found["total"] + 2_000 * messages, record["name"]
        checked += 1
    assert checked >= 5


SETTINGS = [
    (key, method, clients, rounds, precision, scoring)
    for key in ("pocket", "large")
    for method in METHODS
    for clients, rounds in ((1, 1), (5, 20), (100_000, 100_000))
    for precision in WIDTHS
    for scoring in (True, False)
]


@needs_node
def test_the_formula_in_javascript_is_the_one_in_python(counts):
    cases = [[counts[b][m], counts[b]["full"], c, r, int(s), WIDTHS[p]] for b, m, c, r, p, s in SETTINGS]
    found = node(read("bill_formula.js") + "console.log(JSON.stringify(INPUT.map(x => bill(...x))));", cases)
    assert len(found) == len(cases)
    for case, result in zip(cases, found, strict=True):
        assert result == pytest.approx(bill(*case), rel=1e-15)  # beyond 2**53 JavaScript rounds


@needs_node
def test_the_script_of_the_page_shows_the_bill(page, counts):
    payload, script = Page(page).scripts
    shown = node(DOM + script + AFTER, {"payload": payload, "settings": SETTINGS})
    for (key, method, clients, rounds, precision, scoring), texts in zip(SETTINGS, shown, strict=True):
        numbers, model = counts[key][method], counts[key]["full"]
        due = bill(numbers, model, clients, rounds, int(scoring), WIDTHS[precision])
        assert not texts["hidden"]
        assert texts["trained"] == f"{numbers:,} of {model:,}"
        assert texts["update"] == f"{due['update']:,} bytes"
        size, unit = texts["total"].split()
        factor = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
        assert float(size.replace(",", "")) * factor == pytest.approx(due["total"], rel=1e-3)
        share = 100 * due["total"] / due["whole"]
        assert float(texts["share"].rstrip("%")) == pytest.approx(share, rel=5e-3)
        assert float(texts["width"].rstrip("%")) == pytest.approx(share)
        assert texts["label"].startswith(texts["share"]) and "one whole model" in texts["said"]


@needs_node
@pytest.mark.parametrize("wrong", ["", "0", "-3", "2.5", "100001", "five"])
def test_a_number_that_cannot_be_is_refused_and_said(page, wrong):
    payload, script = Page(page).scripts
    settings = [("pocket", "head", "5", wrong, "int8", True), ("pocket", "head", "5", "20", "int8", True)]
    refused, accepted = node(DOM + script + AFTER, {"payload": payload, "settings": settings})
    assert refused["hidden"] and refused["said"] == "Clients and rounds: whole numbers from 1 to 100,000, please."
    assert not accepted["hidden"] and accepted["update"] == "152,460 bytes"


def test_the_kernel_counts_any_backbone_and_says_what_it_cannot(tiny_backbone):
    widget = bill_calculator(num_labels=5, virtual_tokens=3)
    widget.ask = {"backbone": tiny_backbone}
    sizes = {"num_labels": 5, "virtual_tokens": 3}
    due = {method: count_without_weights(tiny_backbone, method, **sizes)["trainable"] for method in METHODS}
    assert widget.answer["counts"] == due
    widget.ask = {"backbone": "/no/such/folder"}
    assert widget.answer["error"].startswith("no backbone in the folder")


@pytest.mark.slow
def test_small_the_same_every_time_and_without_network(page):
    assert bill_calculator().html == page
    assert len(page.encode()) < 20_000
    assert not re.search(r"https?:|//cdn|\bid=|\burl\(|import\(|fetch\(", page)


def test_every_field_has_a_label_and_is_reached_by_keyboard(page):
    tags = Page(page).tags
    fields = [(i, attributes) for i, (tag, attributes) in enumerate(tags) if tag in ("select", "input")]
    assert [attributes["name"] for _, attributes in fields] == [
        "backbone",
        "own",
        "method",
        "clients",
        "rounds",
        "precision",
        "scoring",
    ]
    for i, attributes in fields:
        assert tags[i - 1][0] == "label" and "tabindex" not in attributes and "disabled" not in attributes
    assert [attributes for tag, attributes in tags if attributes.get("aria-live") == "polite"]
    assert "noscript" in [tag for tag, _ in tags]


def test_the_counts_can_be_read_without_javascript(page, counts):
    table = page[page.index("<table>") : page.index("</table>")]
    for of in counts.values():
        for number in of.values():
            assert f"<td>{number:,}</td>" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": 0}, "clients is 0; give a whole number from 1"),
        ({"rounds": 100_001}, "rounds is 100001"),
        ({"num_labels": 1}, "at least 2"),
        ({"virtual_tokens": 0}, "virtual_tokens is 0"),
    ],
)
def test_mistakes_are_told(arguments, message):
    with pytest.raises(FedPromptError, match=message):
        bill_calculator(**arguments)
