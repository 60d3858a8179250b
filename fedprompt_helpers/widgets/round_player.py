"""A player of federated training, round by round.

A dot is a prompt: its virtual tokens end to end, as one long vector. What is near on the plane may be far apart, so
true distances stand in the text and the table. Python draws the last round, and the script moves the same elements.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from IPython.display import HTML

from ..errors import FedPromptError
from ..plots import PALETTE
from .base import inline_widget

_SIZE, _EDGE = np.array([340, 270]), 34  # of each of the two pictures, and the margin that stays free
_RIGHT, _FLOOR, _RISE = 326, 236, 226  # where the accuracies end, where 0 lies, and how far above it 1
_MARKS = ("M-5,0a5,5,0,1,0,10,0a5,5,0,1,0,-10,0Z", "M-4.5,-4.5h9v9h-9Z", "M0,-6.4L6.4,0,0,6.4,-6.4,0Z",
          "M0,-6.4L6,4.6H-6Z", "M0,6.4L6,-4.6H-6Z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z")  # fmt: skip


def _project(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Lay a plane through points (n, numbers), the last right of and above the first: places (n, 2), share shown."""
    centred = points - points.mean(axis=0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.stack([axis if axis @ (points[-1] - points[0]) >= 0 else -axis for axis in axes[:2]])
    places = np.pad(centred @ axes.T, [(0, 0), (0, 2 - len(axes))])
    return places, float((strength[:2] ** 2).sum() / (strength**2).sum()) if strength.any() else 1.0


def _check(rounds: Sequence[Mapping], start: np.ndarray, majority: Mapping[str, float]) -> None:
    if not rounds or not majority:
        raise FedPromptError("no round or no language; expected at least one of each: run the loop first")
    arrays, scores, keys = {"start": start}, {"majority": majority}, {"accuracy", "loss", "prompts", "average"}
    for number, one in enumerate(rounds, 1):
        clients = list(one["prompts"]) if isinstance(one, Mapping) and keys <= one.keys() else []
        if not clients or clients != list(rounds[0]["prompts"]):
            need = f"a dict of {sorted(keys)}, with the same clients in order: keep all of it in your loop"
            raise FedPromptError(f"round {number} is not as expected, {need}")
        arrays |= {f"round {number}, {x}": array for x, array in {**one["prompts"], "average": one["average"]}.items()}
        scores |= {f"round {number}, {what}": one[what] for what in ("accuracy", "loss")}
    shape = np.shape(start) if np.ndim(start) == 2 and np.size(start) else "(virtual tokens, hidden)"
    for name, array in arrays.items():
        if np.shape(array) != shape or np.asarray(array).dtype.kind not in "fiu" or not np.isfinite(array).all():
            found = "numbers that are not real and finite" if np.shape(array) == shape else f"shape {np.shape(array)}"
            wanted = f"finite numbers of shape {shape}: keep what the prompt encoder puts out, and check it"
            raise FedPromptError(f"{name} has {found}; expected {wanted}")
    for name, of in scores.items():
        most = np.inf if name.endswith("loss") else 1
        if set(of) != set(majority) or not all(0 <= x <= most and x < np.inf for x in of.values()):
            wanted = f"a finite number from 0 to {most} for each of {list(majority)}"
            raise FedPromptError(f"{name} is {dict(of)}; expected {wanted}: score every language in every round")


def _labels(heights: np.ndarray) -> list[float]:
    """Shift names that stand beside their dots, so that none overlap: each at least 14 below the one above it."""
    order, steps = np.argsort(heights, kind="stable"), 14 * np.arange(len(heights))
    low = np.maximum.accumulate(heights[order] + 4 - steps) + steps
    return np.round(low - heights[order], 2)[np.argsort(order)].tolist()


def _data(rounds: Sequence[Mapping], start: np.ndarray, majority: Mapping[str, float]) -> dict:
    """Give what is embedded: places in SVG units, texts, and the columns of the table (distances: all numbers)."""
    clients, count = list(rounds[0]["prompts"]), len(rounds)
    path = np.stack([np.ravel(p) for p in (start, *(one["average"] for one in rounds))]).astype(np.float64)
    sent = np.stack([[np.ravel(p) for p in one["prompts"].values()] for one in rounds]).astype(np.float64)
    places, share = _project(np.concatenate([path, *sent]))
    low, high = places.min(axis=0), places.max(axis=0)
    scale = ((_SIZE - 2 * _EDGE) / np.maximum(high - low, 1e-9)).min()
    drawn = np.round((places - (low + high) / 2) * [scale, -scale] + _SIZE / 2 - [_EDGE / 2, 0], 2)  # room for names
    trail, spots, seen = drawn[: count + 1], *(x[count + 1 :].reshape(count, -1, 2) for x in (drawn, places))
    near = max(np.abs(spots - trail[:-1, None]).max(), np.abs(spots - trail[1:, None]).max(), 1)
    step, pairs = np.diff(path, axis=0), list(combinations(range(len(clients)), 2))
    cosine = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b) or 1) for a, b in pairwise(step)]
    table = {f"{x} {what}": [float(one[what][x]) for one in rounds] for what in ("accuracy", "loss") for x in majority}
    moved = np.linalg.norm(sent - path[:-1, None], axis=2).T.tolist()
    table |= {f"{x} moved by": of for x, of in zip(clients, moved, strict=True)}
    for name, of in {"apart": sent, "on the plane": seen}.items() if pairs else ():
        table[name] = [float(np.mean([np.linalg.norm(r[i] - r[j]) for i, j in pairs])) for r in of]
    table["average moved by"] = np.linalg.norm(step, axis=1).tolist()
    table["turned by"] = [None, *np.degrees(np.arccos(np.clip(cosine, -1, 1))).round().tolist()]
    said = ["The start: every client holds the same prompt, and no round has been done."]
    for r, where in enumerate(f"Round {n} of {count}, after " for n in range(1, count + 1)):
        now = {name: f"{float(f'{of[r] or 0:.3g}'):g}" for name, of in table.items()}
        apart = " Two clients are {apart} apart on average; this plane shows {on the plane} of it." if pairs else ""
        far = "The average moved by {average moved by}" + " and turned by {turned by} degrees" * (r > 0)
        moved = ", ".join(f"{x} by {now[f'{x} moved by']}" for x in clients)
        scores = ", ".join(f"{x} {now[f'{x} accuracy']} ({now[f'{x} loss']})" for x in majority)
        said.append(f"{where}local training. Moved away from the average: {moved}.{apart.format(**now)}")
        said.append(f"{where}averaging. {far.format(**now)}. Accuracy (loss): {scores}.")
    across, heights = np.linspace(_EDGE, _RIGHT, count + 1)[1:], [np.array(table[f"{x} accuracy"]) for x in majority]
    lines = [np.stack([across, _FLOOR - _RISE * y], axis=1).round(1).tolist() for y in heights]
    data = {"trails": [trail.tolist(), *([line[0], *line] for line in lines)], "prompts": spots.tolist(), "said": said}
    data |= {"labels": [_labels(of) for of in spots[..., 1]], "size": _SIZE.tolist()}
    return data | {"zoom": max(1.0, (_SIZE / 2 - _EDGE).min() / near), "share": share, "table": table}


def round_player(rounds: Sequence[Mapping], *, start: np.ndarray, majority: Mapping[str, float]) -> HTML:
    """Play what a loop of FedAvg kept: each client's prompt leaves the average and is pulled back, and accuracy.

    Parameters
    ----------
    rounds : sequence of mapping
        A round each: ``accuracy`` (language to share) and ``loss`` (language to nats), ``prompts`` (client to its
        trained virtual tokens, real, shape ``(virtual tokens, hidden)``) and ``average`` (those of the average).
    start : numpy.ndarray
        The virtual tokens that round 1 began with, of the same shape.
    majority : mapping of str to float
        Language to the accuracy of always guessing its most frequent class.
    """
    _check(rounds, start, majority)
    data, clients = _data(rounds, start, majority), list(rounds[0]["prompts"])
    looks = {x: (PALETTE[i % 8], _MARKS[i % 6]) for i, x in enumerate(dict.fromkeys([*clients, *majority]))}
    marks = {x: f'd="{mark}" fill="{colour}"' for x, (colour, mark) in looks.items()}
    trails = ["M" + "L".join(f"{x},{y}" for x, y in path) for path in data["trails"]]
    first, before, here = (f"{x},{y}" for x, y in (data["trails"][0][k] for k in (0, -2, -1)))
    plane, names, chart = "", "", ""
    for name, (x, y), dy in zip(clients, data["prompts"][-1], data["labels"][-1], strict=True):
        plane += f'<path class="fp-out" stroke-width="2" stroke="{looks[name][0]}" d="M{before}L{x},{y}"/>'
        plane += f'<path class="fp-back" stroke-dasharray="2 3" stroke="{looks[name][0]}" d="M{x},{y}L{here}"/>'
        plane += f'<path class="fp-dot" {marks[name]} transform="translate({here})"/>'
        names += f'<text class="fp-name" dx="10" dy="{dy}" transform="translate({x},{y})">{html.escape(name)}</text>'
    for i in range(len(rounds) - 1, -1, -max(1, len(rounds) // 8)):
        chart += f'<text x="{data["trails"][1][i + 1][0]}" y="251" text-anchor="middle">{i + 1}</text>'
    for name, trail, path in zip(majority, trails[1:], data["trails"][1:], strict=True):
        y = round(_FLOOR - _RISE * majority[name], 1)
        chart += f'<path stroke="{looks[name][0]}" stroke-dasharray="1 4" d="M{_EDGE},{y}H{_RIGHT}"/>'
        chart += f'<path class="fp-trail" stroke-width="2" stroke="{looks[name][0]}" d="{trail}"/>'
        chart += f'<path class="fp-head" {marks[name]} transform="translate({path[-1][0]},{path[-1][1]})"/>'
    icon = '<svg viewBox="-8 -8 16 16" width="1em" aria-hidden="true"><path {}/></svg> {}'.format
    key = ", ".join(icon(marks[x], html.escape(f"{x} {majority[x]:.3g}" if x in majority else x)) for x in looks)
    table = pd.DataFrame(data["table"], index=pd.RangeIndex(1, len(rounds) + 1, name="round"))
    places = {"trail": trails[0], "first": first, "here": here, "plane": plane, "names": names, "chart": chart}
    places |= {"count": len(rounds), "said": html.escape(data["said"][-1]), "key": key, "share": f"{data['share']:.0%}"}
    places["table"] = table.to_html(float_format="{:.4g}".format, na_rep="", border=0)
    return inline_widget("fp-play", "round_player", data, **places)
