"""A player of federated training, round by round, live or afterwards; a dot is a prompt, all its tokens in a row."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.plots import PALETTE

from .base import Widget, fill

_SIZE, _EDGE = np.array([340, 270]), 34  # of each of the two pictures, and the margin that stays free
_RIGHT, _FLOOR, _RISE = 326, 236, 226  # where the accuracies end, where 0 lies, and how far above it 1
_WAITING = '<form hidden></form><p class="fp-said" aria-live="polite">No round yet: the first one shows here.</p>'
_MARKS = ("M-5,0a5,5,0,1,0,10,0a5,5,0,1,0,-10,0Z", "M-4.5,-4.5h9v9h-9Z", "M0,-6.4L6.4,0,0,6.4,-6.4,0Z",
          "M0,-6.4L6,4.6H-6Z", "M0,6.4L6,-4.6H-6Z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z")  # fmt: skip


def _project(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Lay a plane through points (n, numbers), the last right of and above the first: places (n, 2), share shown."""
    centred = points - points.mean(axis=0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.stack([axis if axis @ (points[-1] - points[0]) >= 0 else -axis for axis in axes[:2]])
    places = np.pad(centred @ axes.T, [(0, 0), (0, 2 - len(axes))])
    return places, float((strength[:2] ** 2).sum() / (strength**2).sum()) if strength.any() else 1.0


def _check(rounds: Sequence[Mapping], start: np.ndarray | None, majority: Mapping[str, float]) -> None:
    if not rounds or not majority:
        raise FedPromptError("no round or no language; expected at least one of each: run the loop first")
    arrays, scores, keys = {}, {"majority": majority}, {"accuracy", "loss"}
    if start is not None:
        arrays, keys = {"start": start}, keys | {"prompts", "average"}
    for number, one in enumerate(rounds, 1):
        sound = isinstance(one, Mapping) and keys <= one.keys()
        clients = list(one["prompts"]) if sound and arrays else []
        if not sound or (arrays and not clients) or (clients and clients != list(rounds[0]["prompts"])):
            need = f"a dict of {sorted(keys)}, with the same clients in order: keep all of it in your loop"
            raise FedPromptError(f"round {number} is not as expected, {need}")
        if arrays:
            sent = {**one["prompts"], "average": one["average"]}
            arrays |= {f"round {number}, {x}": array for x, array in sent.items()}
        scores |= {f"round {number}, {what}": one[what] for what in ("accuracy", "loss")}
    shape = np.shape(start) if np.ndim(start) == 2 and np.size(start) else "(virtual tokens, hidden)"
    for name, array in arrays.items():
        if np.shape(array) != shape or np.asarray(array).dtype.kind not in "fiu" or not np.isfinite(array).all():
            found = "numbers that are not real and finite" if np.shape(array) == shape else f"shape {np.shape(array)}"
            raise FedPromptError(f"{name} has {found}; expected finite numbers of shape {shape}: keep what is used")
    for name, of in scores.items():
        most = np.inf if name.endswith("loss") else 1
        if set(of) != set(majority) or not all(0 <= x <= most and x < np.inf for x in of.values()):
            need = f"a finite number from 0 to {most} for each of {list(majority)}"
            raise FedPromptError(f"{name} is {dict(of)}; expected {need}: score every language in every round")


def _data(rounds: Sequence[Mapping], start: np.ndarray | None, majority: Mapping[str, float]) -> dict:
    """Give what is embedded: places in SVG units, and the columns of the table (distances are of all numbers)."""
    if start is None:  # no client shows a prompt, and the average stays where it is
        start = np.zeros((1, 1))
        rounds = [{**one, "prompts": {}, "average": start} for one in rounds]
    clients, count = list(rounds[0]["prompts"]), len(rounds)
    path = np.stack([np.ravel(p) for p in (start, *(one["average"] for one in rounds))]).astype(np.float64)
    sent = np.array([[np.ravel(p) for p in one["prompts"].values()] for one in rounds], dtype=np.float64)
    sent = sent.reshape(count, len(clients), path.shape[1])
    places, share = _project(np.concatenate([path, *sent]))
    low, high = places.min(axis=0), places.max(axis=0)
    scale = ((_SIZE - 2 * _EDGE) / np.maximum(high - low, 1e-9)).min()
    drawn = np.round((places - (low + high) / 2) * [scale, -scale] + _SIZE / 2 - [_EDGE / 2, 0], 2)  # room for names
    spots, seen = (x[count + 1 :].reshape(count, len(clients), 2) for x in (drawn, places))
    table = {f"{x} {what}": [float(one[what][x]) for one in rounds] for what in ("accuracy", "loss") for x in majority}
    table |= {f"{x} moved by": np.linalg.norm(sent[:, i] - path[:-1], axis=1).tolist() for i, x in enumerate(clients)}
    for name, of in {"apart": sent, "on the plane": seen}.items() if len(clients) > 1 else ():
        table[name] = [float(pdist(prompts).mean()) for prompts in of]
    step = np.diff(path, axis=0)
    if clients:
        table["average moved by"] = np.linalg.norm(step, axis=1).tolist()
        cosine = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b) or 1) for a, b in pairwise(step)]
        table["turned by"] = [None, *np.degrees(np.arccos(np.clip(cosine, -1, 1))).round().tolist()]
    across, trails = np.linspace(_EDGE, _RIGHT, count + 1)[1:].round(1).tolist(), [drawn[: count + 1].tolist()]
    for x in majority:
        line = [[at, round(_FLOOR - _RISE * y, 1)] for at, y in zip(across, table[f"{x} accuracy"], strict=True)]
        trails.append([line[0], *line])
    known = {"clients": clients, "languages": list(majority), "share": share, "table": table}
    return {"trails": trails, "prompts": spots.tolist()} | known


def _places(data: dict, majority: Mapping[str, float]) -> dict:
    """Give what the template asks for: the last round, drawn."""
    count = len(data["prompts"])
    names = dict.fromkeys([*data["clients"], *majority])
    looks = {x: {"name": x, "colour": PALETTE[i % 8], "mark": _MARKS[i % 6]} for i, x in enumerate(names)}
    trail, *lines = ([f"{x},{y}" for x, y in path] for path in data["trails"])
    clients = [looks[x] | {"at": f"{a},{b}"} for x, (a, b) in zip(data["clients"], data["prompts"][-1], strict=True)]
    languages = [looks[x] | {"path": "L".join(line), "end": line[-1]} for x, line in zip(majority, lines, strict=True)]
    for language, x in zip(languages, majority, strict=True):
        looks[x]["share"], language["y"] = f" {majority[x]:.3g}", round(_FLOOR - _RISE * majority[x], 1)
    ticks = [{"x": data["trails"][1][n][0], "round": n} for n in range(count, 0, -max(1, count // 8))]
    table = pd.DataFrame(data["table"], index=pd.RangeIndex(1, count + 1, name="round"))
    numbers = table.to_html(float_format="{:.4g}".format, na_rep="", border=0)
    places = {"clients": clients, "languages": languages, "looks": looks.values(), "ticks": ticks, "table": numbers}
    places |= {"trail": "L".join(trail), "first": trail[0], "before": trail[-2], "here": trail[-1], "count": count}
    return places | {"shown": f"{data['share']:.0%}", "share": "", "plane": "" if clients else " hidden"}


class RoundPlayer(Widget):
    """A player that can be shown before the first round; ``add`` gives it one more."""

    def __init__(self, start: np.ndarray | None, majority: Mapping[str, float], follow: bool):
        """Wait for the first round; with `follow` the newest is shown, not the start."""
        super().__init__("fp-play", "round_player", {}, waiting=_WAITING)
        self._rounds, self._start, self._majority, self._follow = [], start, dict(majority), follow

    def add(self, *rounds: Mapping) -> None:
        """Take rounds such as ``round_player`` gets, or entries that ``fp.run`` calls `on_progress` with."""
        entries = [
            {what: {x: scores[what] for x, scores in one["dev"].items()} for what in ("accuracy", "loss")}
            if isinstance(one, Mapping) and "dev" in one
            else one
            for one in rounds
        ]
        known = [*self._rounds, *entries]
        _check(known, self._start, self._majority)
        data = _data(known, self._start, self._majority) | {"follow": self._follow}
        with self.hold_sync():
            self.data, self.body = data, fill(self._template, _places(data, self._majority))
        self._rounds = known


def round_player(
    rounds: Sequence[Mapping] | None = None, *, majority: Mapping[str, float], start: np.ndarray | None = None
) -> RoundPlayer:
    """Play what a loop of FedAvg kept: each client's prompt leaves the average and is pulled back, and accuracy.

    Without `rounds` the player waits for a run: show it, then give its ``add`` to ``fp.run(..., on_progress=...)``, or
    call it in a loop. Without `start` it shows the accuracy alone, since such a run does not tell its prompts.

    Parameters
    ----------
    rounds : sequence of mapping
        A round each: ``accuracy`` (language to share) and ``loss`` (language to nats), ``prompts`` (client to its
        trained virtual tokens, real, shape ``(virtual tokens, hidden)``) and ``average`` (those of the average).
    majority, start : mapping of str to float, numpy.ndarray
        By language the accuracy of always guessing its usual class, and the virtual tokens that round 1 began with.
    """
    player = RoundPlayer(start, majority, follow=rounds is None)
    if rounds is not None:
        player.add(*rounds)
    return player
