"""The round player without a browser: what is embedded is what was given, and its script is really run."""

import re

import numpy as np
import pandas as pd
import pytest

from book.widgets.round_player import _FLOOR, _RISE, _project, round_player
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.plots import PALETTE
from fedprompt_helpers.runs import simulate
from tests.pages import Page, needs_node, node

pytestmark = pytest.mark.slow

# As much of a page as the script asks for: parts that remember what was set, a clock that is moved by hand.
DOM = """
const element = () => ({attributes: {}, listeners: {}, dataset: {}, isConnected: true,
  setAttribute(name, value) { this.attributes[name] = String(value); },
  addEventListener(kind, act) { this.listeners[kind] = act; }});
const parts = {script: element(), form: element()}, many = {};
const part = name => parts[name] ??= element();
parts.script.textContent = INPUT.payload;
parts.form.elements = ['play', 'back', 'next', 'round', 'close'].map(name => Object.assign(element(), {name}));
for (const field of parts.form.elements) parts.form.elements[field.name] = field;
const counts = INPUT.counts, group = name => many[name] ??= Array.from({length: counts[name]}, element);
const root = Object.assign(element(), {querySelector: part, querySelectorAll: group});
const document = {querySelectorAll: () => [root]};
const still = Object.assign(element(), {matches: INPUT.still}), matchMedia = () => still;
let waiting = null, clock = 0;
const requestAnimationFrame = act => { waiting = act; return 1; };
const cancelAnimationFrame = () => { waiting = null; };
const wait = ms => { for (let i = 0; waiting && i < ms / 50; i++) { const act = waiting; waiting = null;
  act(clock += 50); } };
const press = name => parts.form.elements[name].listeners.click();
const slide = to => { parts.form.elements.round.value = to; parts.form.elements.round.listeners.input(); };
const close = on => { parts.form.elements.close.checked = on; parts.form.listeners.input(); };
const state = () => ({round: parts.form.elements.round.value, text: parts.form.elements.round.ariaValueText,
  said: part('.fp-said').textContent, live: part('.fp-said').ariaLive, play: parts.form.elements.play.textContent,
  hidden: parts.form.elements.play.hidden, form: parts.form.hidden, running: waiting !== null,
  start: part('.fp-start').attributes,
  ...Object.fromEntries(Object.entries(many).map(([name, of]) => [name.slice(4), of.map(x => ({...x.attributes}))]))});
const seen = [];
"""


def make_rounds(clients=("cy", "ga", "eu"), languages=("cy", "ga", "eu"), count=4, shape=(3, 8), seed=0):
    rng = np.random.default_rng(seed)
    average, rounds = rng.normal(size=shape).astype("float32"), []
    start = average
    for number in range(count):
        prompts = {x: average + rng.normal(1, 1, shape).astype("float32") for x in clients}
        average = np.mean(list(prompts.values()), axis=0)
        rounds.append(
            {
                "accuracy": {x: float(rng.uniform(number / count, (number + 1) / count)) for x in languages},
                "loss": {x: float(rng.exponential()) for x in languages},
                "prompts": prompts,
                "average": average,
            }
        )
    return rounds, start, dict.fromkeys(languages, 0.2)


def show(rounds, start, majority):
    return round_player(rounds, start=start, majority=majority).html


@pytest.fixture(scope="module")
def given():
    return make_rounds()


@pytest.fixture(scope="module")
def page(given):
    return show(*given)


@pytest.fixture(scope="module")
def data(page):
    return Page(page).payload()


def play(page, actions, still=False):
    """Run the script and a few actions; give the state after each."""
    payload, script = Page(page).scripts
    classes = [attributes.get("class", "").split() for _, attributes in Page(page).tags]
    parts = ["trail", "head", "out", "back", "dot", "name"]
    counts = {f".fp-{x}": sum(f"fp-{x}" in of for of in classes) for x in parts}
    steps = "".join(f"{{ {action}; seen.push(state()); }}" for action in actions)
    program = f"{DOM}\n{script}\n{steps}\nconsole.log(JSON.stringify(seen));"
    return node(program, {"payload": payload, "counts": counts, "still": still})


def numbers(text):
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def place(attributes):
    return numbers(attributes["transform"])


def told(data, number, averaged):
    """The sentence of half a round, by hand."""
    table = {name: f"{float(f'{of[number - 1]:.3g}'):g}" for name, of in data["table"].items() if of[number - 1]}
    where = f"Round {number} of {len(data['prompts'])}, after "
    if averaged:
        scores = ", ".join(f"{x} {table[f'{x} accuracy']} ({table[f'{x} loss']})" for x in data["languages"])
        moved = f"The average moved by {table['average moved by']} and turned by {table['turned by']} degrees"
        return f"{where}averaging. {moved}. Accuracy (loss): {scores}."
    moved = ", ".join(f"{x} by {table[f'{x} moved by']}" for x in data["clients"])
    apart = f"{table['apart']} apart on average; this plane shows {table['on the plane']} of it."
    return f"{where}local training. Moved away from the average: {moved}. Two clients are {apart}"


def drawn(page, name):
    tags = [attributes for _, attributes in Page(page).tags if f"fp-{name}" in attributes.get("class", "").split()]
    assert tags
    return tags


def test_scores_and_distances_are_those_of_the_input(given, data):
    rounds, start, _ = given
    table, before = data["table"], start
    for number, one in enumerate(rounds):
        for what in ("accuracy", "loss"):
            assert {x: table[f"{x} {what}"][number] for x in one[what]} == one[what]
        sent = list(one["prompts"].values())
        for name, mine in one["prompts"].items():
            assert table[f"{name} moved by"][number] == pytest.approx(np.linalg.norm(mine - before), rel=1e-5)
        apart = [np.linalg.norm(sent[i] - sent[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert table["apart"][number] == pytest.approx(np.mean(apart), rel=1e-5)
        assert table["on the plane"][number] < table["apart"][number]
        assert table["average moved by"][number] == pytest.approx(np.linalg.norm(one["average"] - before), rel=1e-5)
        before = one["average"]
    one, other = (np.ravel(rounds[i]["average"] - (rounds[i - 1]["average"] if i else start)) for i in (0, 1))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert table["turned by"][:2] == [None, round(np.degrees(np.arccos(cosine)))]


def test_places_are_those_of_the_projection(given, data):
    rounds, start, _ = given
    prompts = [start, *(one["average"] for one in rounds), *(p for one in rounds for p in one["prompts"].values())]
    places, share = _project(np.stack([p.ravel() for p in prompts]).astype(float))
    assert data["share"] == pytest.approx(share) and 0 < share < 1
    shown = np.array([*data["trails"][0], *(spot for of in data["prompts"] for spot in of)]) * [1, -1]
    scale = np.ptp(shown, axis=0) / np.ptp(places, axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=1e-3)  # no axis is stretched
    np.testing.assert_allclose(shown - shown[0], scale[0] * (places - places[0]), atol=0.03)
    assert (np.abs(shown) >= 0).all() and (np.abs(shown) <= [340, 270]).all()


def test_accuracies_are_at_their_height(given, data):
    rounds, _, majority = given
    for name, line in zip(majority, data["trails"][1:], strict=True):
        assert line[0] == line[1]
        heights = [(_FLOOR - y) / _RISE for _, y in line[1:]]
        np.testing.assert_allclose(heights, [one["accuracy"][name] for one in rounds], atol=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_keeps_distances_of_points_in_a_plane(seed):
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(rng.normal(size=(50, 2)))[0].T
    points = rng.normal(size=(12, 2)) @ plane + rng.normal(size=50)
    places, share = _project(points)
    assert places.shape == (12, 2) and places.dtype == np.float64 and share == pytest.approx(1)
    for i in range(12):
        due = np.linalg.norm(points - points[i], axis=1)
        np.testing.assert_allclose(np.linalg.norm(places - places[i], axis=1), due, atol=1e-12)


def test_the_projection_has_one_sign_and_survives_points_that_are_one():
    points = np.random.default_rng(3).normal(size=(9, 20))
    places, _ = _project(points)
    assert (places[-1] >= places[0]).all()
    turned, _ = _project(points @ np.linalg.qr(np.random.default_rng(4).normal(size=(20, 20)))[0])
    np.testing.assert_allclose(turned, places, atol=1e-12)
    same, share = _project(np.ones((4, 5)))
    assert not same.any() and share == 1
    assert _project(np.arange(4.0)[:, None])[0].shape == (4, 2)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no round", "at least one of each: run the loop"),
        ("no language", "at least one of each"),
        ("a tuple", r"round 1 is not as expected, a dict of \['accuracy', 'average', 'loss', 'prompts'\]"),
        ("no loss", "round 3 is not as expected.*keep all of it in your loop"),
        ("no client", "round 1 is not as expected"),
        ("another client", "round 2 is not as expected.*same clients"),
        ("encoder weights", r"round 2, ga has shape \(128, 8\); expected finite numbers of shape \(3, 8\): keep what"),
        ("flat start", r"start has shape \(24,\); expected finite numbers of shape \(virtual tokens, hidden\)"),
        ("average", r"round 4, average has shape \(3, 7\)"),
        ("nan", "round 4, eu has numbers that are not real and finite"),
        ("text", "round 1, cy has numbers that are not real and finite"),
        ("complex", "start has numbers that are not real and finite"),
        ("percent", r"round 1, accuracy is .*expected a finite number from 0 to 1 for each of \['cy', 'ga', 'eu'\]"),
        ("nan loss", "round 2, loss is .*from 0 to inf"),
        ("inf loss", "round 2, loss is"),
        ("language missing", "round 3, accuracy is .*score every language"),
        ("majority", "majority is"),
    ],
)
def test_malformed_input_is_refused(case, message):
    rounds, start, majority = make_rounds()
    if case == "no round":
        rounds = []
    elif case == "no language":
        majority = {}
    elif case == "a tuple":
        rounds[0] = (rounds[0]["prompts"], rounds[0]["average"])
    elif case == "no loss":
        del rounds[2]["loss"]
    elif case == "no client":
        rounds[0]["prompts"] = {}
    elif case == "another client":
        rounds[1]["prompts"]["cy, again"] = rounds[1]["prompts"].pop("cy")
    elif case == "encoder weights":
        rounds[1]["prompts"]["ga"] = np.zeros((128, 8))
    elif case == "flat start":
        start = start.ravel()
    elif case == "average":
        rounds[3]["average"] = np.zeros((3, 7))
    elif case == "nan":
        rounds[3]["prompts"]["eu"] = np.full((3, 8), np.nan)
    elif case == "text":
        rounds[0]["prompts"]["cy"] = np.full((3, 8), "0")
    elif case == "complex":
        start = start.astype(complex)
    elif case == "percent":
        rounds[0]["accuracy"]["cy"] = 81.7
    elif case == "nan loss":
        rounds[1]["loss"]["eu"] = np.nan
    elif case == "inf loss":
        rounds[1]["loss"]["eu"] = np.inf
    elif case == "language missing":
        del rounds[2]["accuracy"]["eu"]
    elif case == "majority":
        majority["cy"] = -0.1
    with pytest.raises(FedPromptError, match=message):
        show(rounds, start, majority)


def test_small_the_same_every_time_and_without_network(given, page):
    assert show(*given) == page
    many = tuple(f"client {i}" for i in range(5))
    large = show(*make_rounds(many, many, count=10, shape=(20, 384)))
    assert len(large.encode()) < 150_000
    assert not re.search(r"https?:|//cdn|\bid=|\burl\(|import\(|fetch\(", page)


def test_the_last_round_is_drawn_without_javascript(given, page, data):
    rounds, _, majority = given
    form = next(attributes for tag, attributes in Page(page).tags if tag == "form")
    assert "hidden" in form and "noscript" in [tag for tag, _ in Page(page).tags]
    assert [place(of) for of in drawn(page, "name")] == data["prompts"][-1]
    assert place(drawn(page, "head")[0]) == data["trails"][0][-1]
    assert numbers(drawn(page, "trail")[0]["d"]) == [x for spot in data["trails"][0] for x in spot]
    assert f"Round {len(rounds)} of {len(rounds)}, after averaging." in page
    dotted = [attributes for _, attributes in Page(page).tags if attributes.get("stroke-dasharray") == "1 4"]
    heights = [_FLOOR - _RISE * share for share in majority.values()]
    assert [numbers(of["d"])[1] for of in dotted] == pytest.approx(heights, abs=0.05)


def test_the_table_holds_the_same_numbers(given, page):
    rounds, _, _ = given
    table = re.search(r"<table.*</table>", page, re.DOTALL).group()
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tbody>")[1].split("</tr>")[:-1]]
    names = pd.Series(re.findall(r"<th>(.+?)</th>", table.split("</thead>")[0]))
    assert len(cells) == len(rounds) and names[1] == "ga accuracy"
    for one, row in zip(rounds, cells, strict=True):
        due = [*one["accuracy"].values(), *one["loss"].values()]
        assert [float(x) for x in row[: len(due)]] == pytest.approx(due, rel=1e-3)


def test_clients_differ_in_colour_and_marker_and_share_them_with_their_language(page):
    dots = [(of["fill"], of["d"]) for of in drawn(page, "dot")]
    assert [colour for colour, _ in dots] == list(PALETTE[:3]) and len({mark for _, mark in dots}) == 3
    assert [(of["fill"], of["d"]) for of in drawn(page, "head")[1:]] == dots
    many = [f"client {i}" for i in range(12)]
    dots = drawn(show(*make_rounds(many, ["sw", "yo"], count=1)), "dot")
    assert len({(of["fill"], of["d"]) for of in dots}) == 12


@needs_node
def test_names_do_not_overlap(page):
    for state in play(page, ["slide(.5)", "slide(1.5)", "slide(2.5)", "slide(3.5)"]):
        assert min(np.diff(sorted(place(of)[1] + float(of["dy"]) for of in state["name"]))) >= 13.99


def test_every_control_has_a_name_and_is_reached_by_keyboard(page):
    tags = Page(page).tags
    buttons = [attributes for tag, attributes in tags if tag == "button"]
    assert [of["name"] for of in buttons] == ["play", "back", "next"] and all(of["type"] == "button" for of in buttons)
    for i, (tag, attributes) in enumerate(tags):
        assert "tabindex" not in attributes and "disabled" not in attributes
        assert tag != "input" or tags[i - 1][0] == "label"
    slider = next(attributes for _, attributes in tags if attributes.get("type") == "range")
    assert (slider["min"], slider["max"], slider["step"]) == ("0", "4", "0.5")
    said = [attributes for _, attributes in tags if attributes.get("aria-live") == "polite"]
    assert [of["class"] for of in said] == ["fp-said"]
    pictures = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    assert len({of["aria-label"] for of in pictures}) == 2


def test_a_player_takes_the_rounds_of_a_loop_while_it_goes_on(given):
    rounds, start, majority = given
    player = round_player(start=start, majority=majority)
    assert "No round yet" in player.html
    for number, one in enumerate(rounds, 1):
        player.add(one)
        assert f"Round {number} of {number}" in player.html
    assert player.data == round_player(rounds, start=start, majority=majority).data | {"follow": True}
    whole = player.html
    with pytest.raises(FedPromptError, match="round 5 is not as expected"):
        player.add({"epoch": 5})
    assert player.html == whole


def test_a_player_takes_the_rounds_of_a_run_while_it_goes_on(tiny_backbone):
    data, federation = {"languages": ["cy", "eu"], "train_size": 12}, {"rounds": 2, "local_epochs": 1}
    config = RunConfig(task="intents", backbone=tiny_backbone, method="head", **data, **federation)
    player, seen = round_player(majority={"cy": 0.2, "eu": 0.2}), []

    def on_round(entry):
        player.add(entry)
        seen.append(player.data["table"]["eu accuracy"])

    outcome = simulate(config, on_round)
    assert seen[1] == [entry["dev"]["eu"]["accuracy"] for entry in outcome.rounds] and seen[0] == seen[1][:1]
    plane, accuracy = (of for _, of in Page(player.html).tags if of.get("role") == "img")
    assert "hidden" in plane and "hidden" not in accuracy


@needs_node
def test_without_prompts_a_round_is_one_step(given):
    rounds, _, majority = given
    player = round_player(majority=majority)
    player.add(
        *({"round": 1, "dev": {x: {k: one[k][x] for k in ("accuracy", "loss")} for x in majority}} for one in rounds)
    )
    states = play(player.html, ["0", "press('back')", "press('back')", "slide(1)"])
    assert [state["round"] for state in states] == [4, 3, 2, 1]
    assert states[0]["said"].startswith("Round 4 of 4, after averaging. Accuracy (loss): cy")


def test_names_are_escaped():
    wild = ('<b>"a"</b>', "</script><i>", "{x} & y")
    rounds, start, majority = make_rounds(wild, wild)
    page = show(rounds, start, majority)
    assert not {"b", "i"} & {tag for tag, _ in Page(page).tags}
    assert len(Page(page).scripts) == 2 and wild[1] in Page(page).payload()["clients"]


def test_one_client_and_prompts_that_do_not_move():
    rounds, start, majority = make_rounds(["alone"], ["cy"], count=2)
    page = show(rounds, start, majority)
    assert "apart" not in Page(page).payload()["table"]
    for one in rounds:
        one |= {"prompts": {"alone": start}, "average": start}
    data = Page(show(rounds, start, majority)).payload()
    assert np.isfinite(data["trails"][0]).all() and np.ptp(data["trails"][0]) <= 340 and data["share"] == 1


@needs_node
def test_it_opens_with_the_last_round_drawn_and_nothing_moves_by_itself(page, data):
    (first,) = play(page, ["wait(5000)"])
    assert first["round"] == 4 and not first["running"] and first["form"] is False and first["hidden"] is False
    assert first["said"].startswith("Round 4 of 4") and first["play"] == "Play"
    assert place(first["head"][0]) == data["trails"][0][-1]


@needs_node
def test_the_start_is_where_all_dots_are_one(page, data):
    (first,) = play(page, ["slide(0)"])
    assert first["said"].startswith("The start") and first["text"] == "the start"
    assert [place(of) for of in first["dot"]] == [data["trails"][0][0]] * 3
    assert {of["opacity"] for of in first["name"] + first["head"][1:]} == {"0"}


@needs_node
def test_the_slider_moves_the_dots(page, data):
    trained, averaged = play(page, ["slide(1.5)", "slide(2)"])
    path, spots = data["trails"][0], data["prompts"][1]
    assert [place(of) for of in trained["dot"]] == [pytest.approx(spot) for spot in spots]
    assert place(trained["head"][0]) == path[1]
    assert [numbers(of["d"]) for of in trained["out"]] == [pytest.approx([*path[1], *spot]) for spot in spots]
    assert trained["text"] == "round 2, trained" and trained["said"] == told(data, 2, averaged=False)
    assert [place(of) for of in averaged["dot"]] == [pytest.approx(path[2])] * 3
    assert place(averaged["head"][0]) == pytest.approx(path[2])
    assert [numbers(of["d"]) for of in averaged["back"]] == [pytest.approx([*spot, *path[2]]) for spot in spots]
    assert averaged["text"] == "round 2, averaged" and averaged["said"] == told(data, 2, averaged=True)
    for i in (1, 2, 3):
        assert place(trained["head"][i]) == data["trails"][i][1]
        assert place(averaged["head"][i]) == pytest.approx(data["trails"][i][2])
        assert numbers(averaged["trail"][i]["d"])[-2:] == pytest.approx(data["trails"][i][2])


@needs_node
def test_the_script_ends_where_python_drew(page):
    (last,) = play(page, ["slide(4)"])
    for name in ("trail", "out", "back"):
        for mine, theirs in zip(last[name], drawn(page, name), strict=True):
            assert numbers(mine["d"]) == pytest.approx(numbers(theirs["d"]))
    for name in ("head", "dot", "name"):
        assert [place(of) for of in last[name]] == [pytest.approx(place(of)) for of in drawn(page, name)]


@needs_node
def test_buttons_step_by_half_a_round_and_stop_at_the_ends(page):
    steps = play(page, ["slide(0)", "press('back')", *["press('next')"] * 9, "press('back')"])
    assert [of["round"] for of in steps] == [0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4, 3.5]


@needs_node
def test_play_runs_through_can_be_paused_and_begins_again(page):
    actions = ["press('play')", "wait(1000)", "press('play')", "wait(3000)", "press('play')", "wait(60000)"]
    began, during, paused, later, _, end, again = play(page, [*actions, "press('play'); wait(100)"])
    assert began["running"] and began["play"] == "Pause" and during["live"] == "off"
    assert during["running"] and during["round"] == 0.5
    assert not paused["running"] and paused["play"] == "Play" and paused["live"] == "polite"
    assert later["round"] == paused["round"] == 1
    assert not end["running"] and end["round"] == 4 and end["live"] == "polite"
    assert again["running"] and again["round"] == 0


@needs_node
def test_moving_the_slider_stops_the_play(page):
    *_, stopped, later = play(page, ["press('play')", "wait(500)", "slide(3)", "wait(3000)"])
    assert not stopped["running"] and stopped["round"] == later["round"] == 3


@needs_node
def test_with_less_motion_there_is_no_play_button_and_a_change_of_mind_stops(page):
    first, step = play(page, ["wait(1000)", "slide(0); press('next')"], still=True)
    assert first["hidden"] is True and first["round"] == 4 and step["round"] == 0.5
    actions = ["press('play'); wait(300)", "still.matches = true; still.listeners.change()", "wait(3000)"]
    _, calmed, later = play(page, actions)
    assert calmed["hidden"] is True and not later["running"] and later["round"] == calmed["round"] == 0.5


@needs_node
def test_the_close_up_enlarges_about_the_average_and_keeps_accuracies(page, data):
    wide, near = play(page, ["slide(1.5)", "close(true)"])
    assert place(near["head"][0]) == pytest.approx([170, 135])
    trail, spots = np.array(data["trails"][0]), np.array(data["prompts"])
    away = [np.abs(spots - ends[:, None]).max() for ends in (trail[:-1], trail[1:])]
    zoom = 101 / max(*away, 1)  # the farthest dot of all rounds comes to the margin
    assert zoom > 1
    for one, other in zip(wide["dot"], near["dot"], strict=True):
        due = [(a - b) * zoom for a, b in zip(place(one), place(wide["head"][0]), strict=True)]
        found = [a - b for a, b in zip(place(other), (170, 135), strict=True)]
        assert found == pytest.approx(due) and max(np.abs(found)) <= 135
    assert near["head"][1:] == wide["head"][1:] and near["trail"][1:] == wide["trail"][1:]
