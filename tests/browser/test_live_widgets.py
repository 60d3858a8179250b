"""Every widget live in a real JupyterLab: its reader types and slides, and the kernel answers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import fedprompt_helpers as fp
from book.widgets import classifier, rate_explorer
from tests.browser.conftest import WAIT

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = "all => all.map(one => parseFloat(one.style.width))"
BEGIN = """\
import time
import numpy as np
import fedprompt_helpers as fp
from book import widgets
from fedprompt_helpers.model.pocket import load_tokenizer, pocket_folder
task = fp.load_task("intents", ["cy", "eu"])
model, tokenizer = fp.load_backbone({tiny!r}, num_labels=len(task.labels), pooling="mean")
model = fp.prepare(model, "prompt-tuning")
few = fp.encode(task.data["cy"]["train"].select(range(8)), tokenizer)
_ = fp.train(model, few, epochs=5, learning_rate=0.1)
"""
ROUNDS = """\
player = widgets.round_player(majority={"cy": 0.2, "eu": 0.1})
display(player)
for number in range(1, 5):
    dev = {x: {"accuracy": number / 5, "loss": 1 / number} for x in ("cy", "eu")}
    player.add({"round": number, "train_loss": 1.0, "dev": dev})
    time.sleep(2)"""
CELLS = {
    ".fp-tok": 'widgets.tokenizer_explorer(load_tokenizer(pocket_folder()), {"en": {"time": "what time is it"}})',
    ".fp-who": "widgets.partition_explorer(task, alphas=[0.1, 1, 10], seeds=[0])",
    ".fp-bill": "widgets.bill_calculator()",
    ".fp-class": 'widgets.classifier(model, ["nesaf"], tokenizer=tokenizer, labels=task.labels)',
    ".fp-rate": "widgets.rate_explorer(model, few, rates=[1e-4, 1e-2, 1])",
    ".fp-play": ROUNDS,
}


@pytest.fixture(scope="module")
def lab(some_chromium, tiny_backbone, tmp_path_factory):
    """The address of a JupyterLab that opens a notebook with every widget."""
    folder = tmp_path_factory.mktemp("lab")
    sources = [BEGIN.format(tiny=tiny_backbone), *CELLS.values()]
    cells = [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", f"--port={port}"]
    command += ["--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    silent = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    silent.parent.mkdir(parents=True)
    silent.write_text('{"fetchNews": "false"}')
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces")}
    with (folder / "log.txt").open("w") as log:
        environment = {**os.environ, **own, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            address, end = f"http://127.0.0.1:{port}", time.monotonic() + WAIT / 1000
            while time.monotonic() < end:
                with suppress(OSError):
                    urllib.request.urlopen(f"{address}/api", timeout=5).close()
                    break
                assert server.poll() is None, (folder / "log.txt").read_text()[-2000:]
                time.sleep(0.5)
            yield f"{address}/lab/tree/live.ipynb?reset"
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def page(lab, chromium):
    """That notebook, all cells run."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(WAIT)
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.goto(lab)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".fp-tok", state="attached")
    yield page
    page.close()


@pytest.fixture
def widget(page, request):
    found = page.locator(request.param)
    found.wait_for(state="attached")
    found.scroll_into_view_if_needed()
    yield found
    if folder := os.environ.get("SHOTS"):  # a folder for pictures of each, after its test
        for theme in ("Light", "Dark"):
            page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
                          f"JupyterLab {theme}")  # fmt: skip
            page.wait_for_timeout(1500)
            found.screenshot(path=f"{folder}/live{request.param}-{theme.lower()}.png")
    assert page.trouble == []


def on(name: str):
    return pytest.mark.parametrize("widget", [name], indirect=True)


def field(widget, name):
    return widget.locator(f"[name={name}]")


def told(widget, text: str):
    """Wait until the widget says it; where a reader of the screen is told."""
    widget.locator(".fp-said[aria-live], [aria-live] .fp-said").filter(has_text=text).wait_for()


@on(".fp-tok")
def test_a_sentence_of_ones_own_is_cut(widget):
    told(widget, "4 tokens for 4 words")
    assert not widget.locator(".fp-page").is_visible()
    field(widget, "own").press_sequentially("Wie spät ist es denn jetzt", delay=20)
    told(widget, "for 6 words")
    pieces = widget.locator("li").evaluate_all("all => all.map(one => one.firstChild.textContent)")
    assert "".join(pieces).replace("▁", " ").strip() == "Wie spät ist es denn jetzt"
    assert "your own" in widget.locator("table").inner_text() or widget.locator("details:not([open])").count()
    field(widget, "own").fill("")
    told(widget, "4 tokens for 4 words")
    field(widget, "own").fill("chwaraea'r gân nesaf")
    told(widget, "for 3 words")


@on(".fp-who")
def test_any_alpha_deals_anew(widget):
    before = widget.locator(".fp-bars").inner_html()
    field(widget, "any").fill("0.37")
    widget.locator("output", has_text="0.37").wait_for()
    widget.page.wait_for_function(
        "([root, was]) => root.ariaBusy === 'false' && root.querySelector('.fp-bars').innerHTML !== was",
        arg=[widget.element_handle(), before],
    )
    field(widget, "any").fill("0")
    told(widget, "alpha")
    field(widget, "any").fill("0.37")
    told(widget, "Mean distance")
    field(widget, "alpha").press("ArrowRight")
    assert widget.locator("output").inner_text() == "10" and field(widget, "any").input_value() == ""
    field(widget, "any").fill("0.37")
    told(widget, "Mean distance")


@on(".fp-bill")
def test_any_backbone_has_its_bill(widget, tiny_backbone):
    own = field(widget, "own")
    own.fill("/no/such/folder")
    own.press("Enter")
    told(widget, "no backbone in the folder")
    own.fill(tiny_backbone)
    own.press("Enter")
    told(widget, "Whole models in float32")
    trained, whole = widget.locator(".fp-trained").inner_text().replace(",", "").split(" of ")
    assert 0 < int(trained) < int(whole) < 10_000_000


@on(".fp-class")
def test_probabilities_follow_what_is_typed(widget):
    bars = f"root => ({WIDTHS})([...root.querySelectorAll('.fp-bar i')])"
    before = widget.evaluate(bars)
    field(widget, "own").press_sequentially("chwaraea'r gân nesaf os gweli di'n dda", delay=30)
    widget.page.wait_for_function(f"([root, was]) => String(({bars})(root)) !== was", arg=[
        widget.element_handle(), ",".join(f"{width:g}" for width in before)])  # fmt: skip
    assert sum(widget.evaluate(bars)) == pytest.approx(100, abs=0.1) == sum(before)
    field(widget, "own").fill("")
    assert widget.evaluate(bars) == before


@on(".fp-rate")
def test_the_slider_trains_at_any_rate(widget):
    told(widget, "Learning rate 0.01: from a loss of")
    pale = widget.locator(".fp-plot path").count()
    field(widget, "rate").press("ArrowLeft")
    told(widget, "Learning rate 0.0063: from a loss of")
    told(widget, "after 10 steps")
    assert widget.locator(".fp-plot path").count() == pale
    field(widget, "rate").press("End")
    told(widget, "Learning rate 1:")
    field(widget, "rate").press("ArrowLeft")
    told(widget, "after 10 steps")


@on(".fp-play")
def test_the_player_follows_a_run_while_it_goes_on(widget):
    widget.page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    widget.page.keyboard.press("Control+Enter")
    for number in (1, 2, 3, 4):
        told(widget, f"Round {number} of {number}, after averaging. Accuracy (loss): cy {number / 5}")
    field(widget, "back").click()
    told(widget, "Round 3 of 4")
    field(widget, "round").press("Home")
    told(widget, "The start")
    field(widget, "play").click()
    told(widget, "Round 4 of 4")


@pytest.fixture
def stored(chromium, tiny_backbone):
    """A page with the stored view of the two widgets that train or classify, without a network."""
    task = fp.load_task("intents", ["cy"])
    model, tokenizer = fp.load_backbone(tiny_backbone, num_labels=len(task.labels), pooling="mean")
    model = fp.prepare(model, "prompt-tuning")
    few = fp.encode(task.data["cy"]["train"].select(range(8)), tokenizer)
    rates = rate_explorer(model, few, rates=[1e-4, 1e-2, 1])
    fp.train(model, few, epochs=5, learning_rate=0.1)
    texts = ["nesaf", "chwaraea'r gân nesaf"]
    shares = classifier(model, texts, tokenizer=tokenizer, labels=task.labels)
    page = chromium.new_page(viewport={"width": 760, "height": 1000})
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url))
    page.set_content("<!doctype html>" + shares.html + rates.html)
    yield page
    if folder := os.environ.get("SHOTS"):
        for theme, look in {"light": "#fff;color:#111", "dark": "#121212;color:#eee"}.items():
            page.evaluate("look => { document.body.style = `font-family:sans-serif;background:${look}` }", look)
            for kind in (".fp-class", ".fp-rate"):
                page.locator(kind).screenshot(path=f"{folder}/page{kind}-{theme}.png")
    assert trouble == []
    page.close()


def test_the_stored_classifier_shows_another_text(stored):
    widget = stored.locator(".fp-class")
    before = widget.locator(".fp-bar i").evaluate_all(WIDTHS)
    field(widget, "text").focus()
    stored.keyboard.press("ArrowDown")
    assert widget.locator(".fp-bar i").evaluate_all(WIDTHS) != before
    assert widget.locator(".fp-page").is_visible() and not field(widget, "own").is_visible()


def test_the_stored_slider_shows_another_rate(stored):
    widget = stored.locator(".fp-rate")
    told(widget, "Learning rate 0.01: from a loss of")
    field(widget, "rate").press("ArrowRight")
    told(widget, "Learning rate 1:")
    field(widget, "rate").press("Home")
    told(widget, "Learning rate 0.0001:")
