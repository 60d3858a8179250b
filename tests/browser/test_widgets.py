"""Every widget, driven by mouse and keyboard in the built page, moves its plot."""

import pytest

WIDGETS = {
    ".fp-tok": ("01_languages_and_borders", ".fp-tokens"),
    ".fp-class": ("02_prompt_tuning", "table"),
    ".fp-rate": ("02_prompt_tuning", ".fp-plot"),
    ".fp-who": ("04_who_holds_what", ".fp-bars"),
    ".fp-play": ("05_fedavg", ".fp-two"),
    ".fp-fed": ("05_fedavg", ".fp-plot"),
    ".fp-res": ("08_results", ".fp-plot"),
    ".fp-bill": ("11_the_bill", ".fp-bar"),
}
REACHED = """node => node.contains(document.activeElement) ? document.activeElement.name || 'other' : ''"""
UNFOLD = """node => {
  for (let fold = node.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
}"""
CONTROLS = """node => [...new Set([...node.querySelector('form').elements]
  .filter(one => one.name && !one.closest('[hidden]')).map(one => one.name))]"""


@pytest.fixture
def widget(visit, request):
    """A widget in its chapter: ``look()`` is what its plot looks like now."""
    chapter, plot = WIDGETS[request.param]
    with visit(f"notebooks/{chapter}.html") as page:
        found = page.locator(request.param).first
        found.evaluate(UNFOLD)
        found.scroll_into_view_if_needed()
        found.look = lambda: found.locator(plot).screenshot()
        yield found
        assert page.trouble == []


def on(name: str):
    return pytest.mark.parametrize("widget", [name], indirect=True)


def moved_by(widget, act) -> bool:
    """Whether the plot and what is said of it look different after an act."""
    before, said = widget.look(), widget.locator(".fp-said").inner_text()
    act()
    return widget.look() != before and widget.locator(".fp-said").inner_text() != said


def field(widget, name):
    return widget.locator(f"[name={name}]")


@on(".fp-tok")
def test_the_tokenizer_explorer_cuts_another_command(widget):
    field(widget, "language").focus()
    assert moved_by(widget, lambda: widget.page.keyboard.press("ArrowDown"))
    field(widget, "command").focus()
    assert moved_by(widget, lambda: widget.page.keyboard.press("ArrowDown"))


@on(".fp-who")
def test_the_partition_explorer_deals_anew(widget):
    slider = field(widget, "alpha")
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    assert moved_by(widget, lambda: widget.page.mouse.click(box["x"] + 3, middle))
    assert moved_by(widget, lambda: slider.press("ArrowRight"))
    assert moved_by(widget, lambda: widget.get_by_label("seed 1").click())
    before = widget.look()
    widget.locator("[name=by]").last.check()
    assert widget.look() != before


@on(".fp-play")
def test_the_player_goes_step_by_step_and_plays(widget):
    slider = field(widget, "round")
    slider.press("Home")
    assert moved_by(widget, lambda: field(widget, "next").click())
    assert moved_by(widget, lambda: slider.press("ArrowRight"))
    assert slider.input_value() == "1"
    before = widget.look()
    field(widget, "play").click()
    widget.get_by_role("button", name="Pause").wait_for()
    widget.page.wait_for_function("node => Number(node.value) > 1", arg=slider.element_handle())
    widget.get_by_role("button", name="Pause").click()
    assert widget.look() != before


@on(".fp-res")
def test_the_results_explorer_draws_another_question(widget):
    field(widget, "sweep").focus()
    assert moved_by(widget, lambda: widget.page.keyboard.press("ArrowDown"))
    assert moved_by(widget, lambda: field(widget, "language").select_option(index=1))
    assert moved_by(widget, lambda: field(widget, "gain").check())


@on(".fp-bill")
def test_the_bill_follows_its_fields(widget):
    before, total = widget.look(), widget.locator(".fp-total").inner_text()
    field(widget, "rounds").fill("40")
    assert widget.locator(".fp-total").inner_text() != total
    field(widget, "method").focus()
    widget.page.keyboard.press("End")
    assert widget.look() != before
    field(widget, "clients").fill("0")
    assert "whole numbers" in widget.locator(".fp-said").inner_text()


@pytest.mark.parametrize("widget", WIDGETS, indirect=True)
def test_every_control_is_reached_by_tab(widget):
    widget.evaluate("node => { node.tabIndex = -1; node.focus(); }")
    reached = set()
    for _ in range(30):
        widget.page.keyboard.press("Tab")
        reached.add(widget.evaluate(REACHED))
    assert set(widget.evaluate(CONTROLS)) <= reached
    assert "" in reached, "the keyboard never leaves the widget"
