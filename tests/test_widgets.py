"""The widgets' names, and the partition explorer without a browser: complete, small, escaped and always the same."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import book.widgets
from book.research import explorer
from book.widgets import partition_explorer
from book.widgets.base import HERE, Widget
from book.widgets.partition_explorer import ALPHAS
from fedprompt_helpers.data.partition import counts, mean_total_variation, partition
from fedprompt_helpers.data.tasks import Task, load_task
from fedprompt_helpers.errors import FedPromptError
from notebooks.execute import VIEW
from tests.pages import Page
from tests.test_partition import make_task

BESIDE, TOOLS = str(Path(sys.executable).parent), explorer.HERE


def test_a_widget_is_a_function_however_its_module_was_imported():
    for name in book.widgets.__all__:
        module = importlib.import_module(f"book.widgets.{name}")
        assert getattr(book.widgets, name) is getattr(module, name) and callable(getattr(book.widgets, name))
    with pytest.raises(AttributeError, match=r"no attribute 'bill'; widgets: .*tokenizer_explorer"):
        book.widgets.bill  # noqa: B018


class Broken(Exception):
    pass


def test_an_output_is_live_and_stored_and_only_the_view_is_another_each_time():
    one, other = (partition_explorer(make_task([9, 9]), **FEW)._repr_mimebundle_()[0] for _ in range(2))
    view = one.pop(VIEW), other.pop(VIEW)
    assert one == other and set(one) == {"text/plain", "text/html"} and view[0]["model_id"] != view[1]["model_id"]


def test_what_goes_wrong_in_the_kernel_is_one_line_for_the_reader():
    def reply(tell, number):
        tell({"half": number})
        raise Broken("no\nsecond line")

    widget, seen = Widget("fp-rate", "rate_explorer", {}, reply=reply, last=1, middle=0), []
    widget.observe(lambda change: seen.append(change["new"]), "answer")
    widget.ask = {"number": 1}
    assert seen == [{"to": {"number": 1}, "half": 1}, {"to": {"number": 1}, "error": "Broken: no"}]


FORMULAS = {
    "bill_calculator": "bill_formula.js",
    "live_federation": "federation_formula.js",
    "results_explorer": "results_formula.js",
}


@pytest.mark.skipif(shutil.which("biome", path=BESIDE) is None, reason="needs biome: pip install .[test]")
def test_scripts_and_styles_pass_the_linter(tmp_path):
    kinds = {path.stem: path.parent for path in [*HERE.glob("*.html"), *TOOLS.glob("*.html")]}
    assert len(kinds) == 9
    for name, folder in kinds.items():
        formula = FORMULAS.get(name)
        widget = Widget("fp-any", name, {}, formula=formula or "", folder=folder, waiting="<form></form>")
        (tmp_path / f"{name}.js").write_text(f'{widget._esm}showStored("fp-any");\n', "utf-8")
        (tmp_path / f"{name}.css").write_text(widget._css, "utf-8")
    command = [shutil.which("biome", path=BESIDE), "lint", f"--config-path={HERE}", "--error-on-warnings"]
    result = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


FEW = {"alphas": (0.1, 1, 50), "seeds": (0, 1)}


@pytest.fixture(scope="module")
def task():
    return load_task("intents", ["en", "de", "cy", "ga", "is"])


@pytest.fixture(scope="module")
def widget(task):
    return partition_explorer(task, **FEW)


@pytest.fixture(scope="module")
def html(widget):
    return widget.html


@pytest.mark.slow
def test_every_frame_holds_every_example_once(task, html):
    data = Page(html).payload()
    assert data["label"] == list(task.labels) and data["language"] == list(task.languages)
    assert data["alphas"] == list(FEW["alphas"])
    frames = [frame for draws in data["frames"].values() for steps in draws for frame in steps]
    assert len(frames) == 2 * 2 * 3 + 1 + 2 and None not in frames
    by_language = [len(task.data[language]["train"]) for language in task.languages]
    by_label = np.bincount([y for name in task.languages for y in task.data[name]["train"]["label"]]).tolist()
    for frame in frames:
        assert np.sum(frame["language"], axis=0).tolist() == by_language
        assert np.sum(frame["label"], axis=0).tolist() == by_label
        assert np.sum(frame["label"], axis=1).tolist() == np.sum(frame["language"], axis=1).tolist()


@pytest.mark.slow
def test_a_frame_is_what_the_helper_deals(task, html):
    frames = Page(html).payload()["frames"]
    parts = partition(task, "dirichlet-label", alpha=50, seed=1)
    assert frames["dirichlet-label"][1][2] == {
        "label": counts(parts, task).tolist(),
        "language": counts(parts, task, "language").tolist(),
        "distance": [round(mean_total_variation(counts(parts, task, by)), 3) for by in ("label", "language")],
    }
    assert frames["language"][0][0]["language"] == np.diag(np.diag(frames["language"][0][0]["language"])).tolist()


@pytest.mark.slow
def test_the_same_every_time_and_without_network(task, html):
    assert partition_explorer(task, **FEW).html == html
    assert not re.search(r"https?:|//cdn|\bid=|\burl\(|import\(|fetch\(", html)


@pytest.mark.slow
def test_with_every_alpha_it_is_small(task):
    html = partition_explorer(task).html
    assert len(html.encode()) < 100_000 and Page(html).payload()["alphas"] == list(ALPHAS)


def test_the_slider_can_be_named_and_reached(html):
    page = Page(html)
    (slider,) = page.inputs("alpha")
    assert slider["type"] == "range" and int(slider["max"]) == len(FEW["alphas"]) - 1
    assert "tabindex" not in slider and "disabled" not in slider
    assert [button["value"] for button in page.inputs("scheme")] == [
        "dirichlet-label",
        "dirichlet-language",
        "language",
        "iid",
    ]
    for name in ("scheme", "by", "draw"):
        assert ["checked" in button for button in page.inputs(name)].count(True) == 1
    assert len([tag for tag, _ in page.tags if tag == "input"]) == len([t for t, _ in page.tags if t == "label"])
    assert any(attributes.get("aria-live") == "polite" for _, attributes in page.tags)


def test_the_kernel_deals_at_any_alpha_and_says_what_it_cannot(task, widget):
    asked = {"scheme": "dirichlet-language", "alpha": 0.37, "seed": 1}
    widget.ask = asked
    parts = partition(task, asked["scheme"], alpha=0.37, seed=1)
    assert widget.answer["to"] == asked and widget.answer["frame"]["label"] == counts(parts, task).tolist()
    widget.ask = asked | {"alpha": 0}
    assert "alpha" in widget.answer["error"] and "\n" not in widget.answer["error"]
    few = partition_explorer(make_task([3, 3]), clients=6, alphas=[50], seeds=[0])
    few.ask = asked | {"alpha": 0.001}
    assert "6 clients at alpha 0.001 leave 4 without examples: 0, 1, 2, 4; raise alpha" in few.answer["error"]


@pytest.mark.parametrize("sizes", [[], [0, 0], [9, 0]])
def test_an_empty_task_is_one_clear_line(sizes):
    with pytest.raises(FedPromptError, match=r"training examples|no language") as caught:
        partition_explorer(make_task(sizes), **FEW)
    assert "\n" not in str(caught.value)


def test_names_from_outside_cannot_close_the_script():
    plain = make_task([9, 9])
    evil = "</script><img src=x onerror=alert(1)>"
    task = Task("intents", plain.languages, (evil, *plain.labels[1:]), plain.data)
    page = Page(partition_explorer(task, alphas=[1], seeds=[0]).html)
    assert page.payload()["label"][0] == evil
    assert "img" not in [tag for tag, _ in page.tags]


def test_a_draw_that_leaves_a_client_empty_is_no_frame():
    task = make_task([3, 3])
    frames = Page(partition_explorer(task, clients=6, alphas=[0.001, 50], seeds=[0]).html).payload()["frames"]
    assert "language" not in frames
    assert frames["dirichlet-label"][0][0] is None and len(frames["iid"][0][0]["label"]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alphas": []}, "at least one alpha and one seed"),
        ({"seeds": []}, "at least one alpha and one seed"),
        ({"alphas": [0, 1]}, "alpha is 0.*above 0"),
        ({"clients": 0}, "clients is 0"),
        ({"clients": 99}, "99 clients for 18 training examples"),
        ({"seeds": [-1]}, "seed is -1"),
    ],
)
def test_mistakes_are_told(arguments, message):
    with pytest.raises(FedPromptError, match=message):
        partition_explorer(make_task([9, 9]), **arguments)
