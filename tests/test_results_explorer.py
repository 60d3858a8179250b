"""The results explorer without a browser: embedded scores are those of the tables, and its script is really run."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from book.research import explorer
from book.research.explorer import HERE, MEASURES, explorer_data, majority_macro_f1, results_explorer, sweep_data
from book.research.results import half_interval, table
from book.research.sweeps import has_record, read_sweep
from book.widgets.base import read
from fedprompt_helpers.errors import FedPromptError
from tests.pages import Page, needs_node, node

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).resolve().parent.parent / "book/results"
RECORDS = RESULTS / "records.jsonl"
SWEEPS = [read_sweep(path) for path in sorted((RESULTS / "sweeps").glob("*.toml"))]
RECORDED = [sweep for sweep in SWEEPS if has_record(sweep, RECORDS)]
MAIN = "federation_gain_masakhanews"
each_sweep = pytest.mark.parametrize("sweep", RECORDED, ids=lambda sweep: sweep.path.stem)

# As much of a page as the script asks for. What it puts into the table and the picture can be read afterwards.
DOM = """
class Node {
  constructor(tag) { Object.assign(this, {tag, kids: [], given: {}, dataset: {}, textContent: ''}); }
  appendChild(kid) { this.kids.push(kid); return kid; }
  replaceChildren() { this.kids = []; }
  setAttribute(name, value) { this.given[name] = value; }
  addEventListener(kind, f) { if (kind === 'input') this.changed = f; }
  all(tag) { return this.kids.flatMap(kid => [...(kid.tag === tag ? [kid] : []), ...kid.all(tag)]); }
}
const parts = {}, part = name => parts[name] ??= new Node(name);
const names = ['sweep', 'measure', 'language', 'gain'], elements = names.map(name => new Node(name));
names.forEach((name, i) => { elements[name] = elements[i]; });
part('script').textContent = INPUT.payload;
part('form').elements = elements;
const document = {
  querySelectorAll: () => [{dataset: {}, querySelector: part}],
  createElementNS: (space, tag) => new Node(tag),
};
const set = ([sweep, measure, language, gain]) => {
  Object.assign(elements.sweep, {value: sweep});
  Object.assign(elements.measure, {value: measure});
  Object.assign(elements.language, {value: language});
  Object.assign(elements.gain, {checked: gain});
};
set(INPUT.settings[0]);
"""
AFTER = """
console.log(JSON.stringify(INPUT.settings.map(setting => {
  set(setting);
  part('form').changed();
  const plot = part('.fp-plot'), numbers = plot.all('line').flatMap(line => [line.given.x1, line.given.x2]);
  return {
    rows: part('.fp-table').all('tr').map(tr => tr.kids.map(cell => cell.textContent)),
    texts: plot.all('g').map(g => g.all('text')[0].textContent),
    dots: plot.all('g').map(g => g.all('circle').filter(dot => dot.given.fill === '#fff').map(dot => dot.given.cx)),
    ticks: plot.all('text').filter(t => t.given.class === 'fp-tick').map(t => [t.textContent, t.given.x]),
    places: [...numbers, ...plot.all('circle').map(dot => dot.given.cx)], label: plot.given['aria-label'],
    said: part('.fp-said').textContent, languages: elements.language.kids.map(o => o.given.value),
    language: elements.language.value,
  };
})));
"""


@pytest.fixture(scope="module")
def page():
    return results_explorer(explorer_data(SWEEPS, RECORDS), first=MAIN).html


def shown(page, settings):
    payload, script = Page(page).scripts
    return node(DOM + script + AFTER, {"payload": payload, "settings": settings})


def close(text, value, digits=3):
    """Whether a cell shows a number; an empty cell shows a missing one."""
    if pd.isna(value):
        return text == ""
    return text != "" and abs(float(text) - value) < 0.6 * 10**-digits + 1e-4


@each_sweep
def test_embedded_scores_are_those_of_the_table(sweep):
    data, due = sweep_data(sweep, RECORDS), table(sweep, RECORDS)
    assert data["question"] == sweep.question
    for name, share in data["majority"]["accuracy"].items():
        assert share == pytest.approx(due.iloc[0][name], abs=1e-5)
    assert len(data["settings"]) == len(due) - 1
    for setting, (_, row) in zip(data["settings"], due.iloc[1:].iterrows(), strict=True):
        assert setting["name"].startswith(row["label"]) and len(setting["seeds"]) == row["seeds"]
        assert setting["baseline"] == (row["label"] == sweep.baseline)
        by_language = pd.DataFrame(setting["accuracy"], dtype=float)
        means = by_language.mean(axis=1)
        assert means.mean() == pytest.approx(row["accuracy"], abs=1e-5)
        assert half_interval(means) == pytest.approx(row["interval"], abs=1e-4, nan_ok=True)
        assert pd.DataFrame(setting["macro_f1"], dtype=float).stack().mean() == pytest.approx(row["macro_f1"], abs=1e-5)
        for name in by_language:
            assert by_language[name].mean() == pytest.approx(row[name], abs=1e-5)
        assert (setting["base"] is None) == pd.isna(row.get("gain"))


def test_settings_are_told_apart_by_name():
    for sweep in RECORDED:
        names = [setting["name"] for setting in sweep_data(sweep, RECORDS)["settings"]]
        assert len(set(names)) == len(names)
    points = [{"label": "a", "size": 8, "alpha": float("nan")}, {"label": "a", "size": "all", "alpha": float("nan")}]
    points += [{"label": "b", "size": 8, "alpha": 0.5}, {"label": "c", "size": 8, "alpha": 0.5}]
    assert explorer._names(points, ["size", "alpha"]) == ["a, size 8", "a, size all", "b", "c"]
    assert [explorer._base(points, point, "a", ["size", "alpha"]) for point in points] == [None, None, 0, 0]


@needs_node
@each_sweep
def test_the_page_shows_the_table(page, sweep):
    due, stem = table(sweep, RECORDS), sweep.path.stem
    languages = sweep_data(sweep, RECORDS)["languages"]
    views = [(stem, m, x, g) for m in MEASURES for x in ("", *languages) for g in (False, True)]
    found = dict(zip(views, shown(page, views), strict=True))
    majority, rows = due.iloc[0], due.iloc[1:]
    for (_, measure, language, gain), view in found.items():
        head, first, *body = view["rows"]
        assert head[:3] == ["setting", "mean", "± (95%)"] and first[0].startswith("majority class")
        assert len(body) == len(rows) == len(view["texts"]) and sweep.question in view["said"]
        assert [cells[0] for cells in body] == view["texts"]
        if measure == "accuracy":
            assert close(first[1], majority[language or "accuracy"])
        for cells, (_, row), dots in zip(body, rows.iterrows(), view["dots"], strict=True):
            assert len(dots) == sum(text != "" for text in cells[3:])  # a dot a seed
            if measure == "accuracy" and not gain:
                assert close(cells[1], row[language or "accuracy"])
                assert language or close(cells[2], row["interval"])
                assert close(cells[1], np.mean([float(text) for text in cells[3:] if text]))
            if measure == "macro_f1" and not gain and not language:
                assert close(cells[1], row["macro_f1"])
            if measure == "accuracy" and gain and not language:
                assert close(cells[1], row.get("gain")) and close(cells[2], row.get("gain_interval"))
    for view in found.values():
        assert all(0 <= float(place.rstrip("%")) <= 100 for place in view["places"] if str(place).endswith("%"))
        assert view["languages"] == ["", *languages]
        assert 2 <= len(view["ticks"]) <= 9 and view["label"].endswith("All numbers are in the table below.")


@needs_node
def test_dots_stand_where_the_ticks_say(page):
    [view] = shown(page, [(MAIN, "accuracy", "eng", False)])
    (first, x0), (last, x1) = view["ticks"][0], view["ticks"][-1]
    for cells, dots in zip(view["rows"][2:], view["dots"], strict=True):
        for text, place in zip(cells[3:], dots, strict=True):
            part = (float(text) - float(first)) / (float(last) - float(first))
            due = float(x0.rstrip("%")) + part * (float(x1.rstrip("%")) - float(x0.rstrip("%")))
            assert float(place.rstrip("%")) == pytest.approx(due, abs=0.2)


@needs_node
def test_the_language_is_kept_if_the_next_sweep_has_it(page):
    other = next(sweep.path.stem for sweep in RECORDED if sweep.path.stem != MAIN and "eng" in str(sweep.common))
    views = shown(page, [(MAIN, "accuracy", "eng", False), (other, "accuracy", "eng", False)])
    assert [view["language"] for view in views] == ["eng", "eng"]
    if any(sweep.path.stem == "xnli" for sweep in RECORDED):
        _, view = shown(page, [(MAIN, "accuracy", "eng", False), ("xnli", "accuracy", "eng", False)])
        assert view["language"] == "" and "mean over languages" in view["said"]


@needs_node
def test_the_formula_in_javascript_is_that_of_the_tables(page):
    rng = np.random.default_rng(0)
    cases = [rng.random(n).round(5).tolist() for n in (1, 2, 3, 5)]
    t = Page(page).payload()["t"] | {"5": 2.776445}
    assert t["3"] == 4.302653
    program = (
        read("results_formula.js", HERE)
        + "console.log(JSON.stringify(INPUT.cases.map(x => [mean(x), half(x, INPUT.t)])));"
    )
    for case, (middle, half) in zip(cases, node(program, {"cases": cases, "t": t}), strict=True):
        assert middle == pytest.approx(np.mean(case))
        assert half is None if len(case) == 1 else half == pytest.approx(half_interval(case))


@needs_node
def test_gains_are_paired_by_seed_and_language():
    base = {"seeds": [2, 0], "accuracy": {"x": [0.2, 0.5], "y": [0.1, None]}}
    row = {"seeds": [0, 1, 2], "base": 0, "accuracy": {"x": [0.6, 0.9, 0.4], "y": [0.7, 0.9, 0.5]}}
    sweep = {"languages": ["x", "y"], "settings": [base, row]}
    program = (
        read("results_formula.js", HERE)
        + "const {sweep} = INPUT, row = sweep.settings[1];"
        + ("console.log(JSON.stringify(['', 'x'].map(l => [...values(sweep, row, 'accuracy', l, true)])));")
    )
    both, one = node(program, {"sweep": sweep})
    assert [seed for seed, _ in both] == [seed for seed, _ in one] == [0, 2]
    assert [v for _, v in both] == pytest.approx([0.1, 0.3]) and [v for _, v in one] == pytest.approx([0.1, 0.2])


def test_majority_macro_f1_is_an_upper_limit():
    rng = np.random.default_rng(0)
    for classes in (2, 3, 7):
        truth = rng.integers(classes, size=50)
        top = np.bincount(truth).argmax()
        score = f1_score(truth, np.full(50, top), labels=np.unique(truth), average="macro", zero_division=0)
        assert score <= majority_macro_f1((truth == top).mean()) + 1e-12
    assert majority_macro_f1(1 / 3) == pytest.approx(0.5 / 3)  # three equal classes: no more than that, and no less
    assert majority_macro_f1(1.0) == 1.0


def test_small_the_same_every_time_and_without_network(page):
    assert results_explorer(Page(page).payload()["sweeps"], first=MAIN).html == page
    assert len(page.encode()) < 150_000
    without = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//cdn|\bid=|\burl\(|import\(|fetch\(", without)


def test_every_field_has_a_label_and_is_reached_by_keyboard(page):
    tags = Page(page).tags
    fields = [(i, attributes) for i, (tag, attributes) in enumerate(tags) if tag in ("select", "input")]
    assert [attributes["name"] for _, attributes in fields] == ["sweep", "measure", "language", "gain"]
    for i, attributes in fields:
        assert tags[i - 1][0] == "label" and "tabindex" not in attributes and "disabled" not in attributes
    assert [attributes for _, attributes in tags if attributes.get("aria-live") == "polite"]
    assert {"noscript", "details", "summary", "table", "svg"} <= {tag for tag, _ in tags}
    chosen = [attributes["value"] for tag, attributes in tags if tag == "option" and "selected" in attributes]
    assert chosen == [MAIN, "accuracy"]


def test_text_of_a_sweep_cannot_leave_its_place(tmp_path):
    text = (RESULTS / "sweeps" / f"{MAIN}.toml").read_text(encoding="utf-8")
    path = tmp_path / f"{MAIN}.toml"
    path.write_text(re.sub("(?m)^question = .*$", 'question = "</script><b>&"', text), encoding="utf-8")
    made = results_explorer(explorer_data([read_sweep(path)], RECORDS)).html
    assert "</script><b>" not in made and "&lt;/script&gt;&lt;b&gt;&amp;" in made
    assert Page(made).payload()["sweeps"][MAIN]["question"] == "</script><b>&"


def test_mistakes_are_told(tmp_path):
    with pytest.raises(FedPromptError, match="no sweep given has a run record"):
        explorer_data(SWEEPS, tmp_path / "none.jsonl")
    with pytest.raises(FedPromptError, match="no question to show"):
        results_explorer({})
    with pytest.raises(FedPromptError, match="the question 'mine' lacks languages, majority, settings"):
        results_explorer({"mine": {"question": "Why?"}})
    given = {"mine": {"question": "Why?", "languages": [], "majority": {}, "settings": []}}
    with pytest.raises(FedPromptError, match="unknown question 'no_such'"):
        results_explorer(given, first="no_such")
