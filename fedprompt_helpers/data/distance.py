"""How far two languages are from each other, by the URIEL typological database (Littell et al. 2017; chapter 10).

The vectors come from the installed package lang2vec 1.1.2 (data: CC BY-SA 4.0). Its arrays are read directly: its code
imports a module that current Python environments no longer have.
"""

import functools
import json
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from ..errors import check_choice

KINDS = {
    "typology": ("feature_predictions.npz", ("S_", "P_", "INV_")),
    "syntax": ("feature_predictions.npz", ("S_",)),
    "genealogy": ("family_features.npz", ("",)),
    "geography": ("geocoord_features.npz", ("",)),
}
"""Kinds of distance: the file of lang2vec, and the prefixes of its features. URIEL fills typological gaps by k nearest
neighbours; ``"typology"`` takes syntax, phonology and sound inventory together."""


def language_distance(one: str, other: str, kind: str = "typology") -> float:
    """Give the cosine distance between the URIEL vectors of two languages: 0, the same features, to 1, none shared.

    Parameters
    ----------
    one, other : str
        ISO 639-1 or 639-3 codes, such as ``"cy"`` or ``"yor"``.
    kind : str
        One of ``KINDS``.
    """
    vectors = _vectors(check_choice("kind of distance", kind, KINDS))
    one, other = (check_choice("language of URIEL", _letter_codes().get(code, code), vectors) for code in (one, other))
    if one == other:
        return 0.0
    a, b = vectors[one], vectors[other]
    size = np.sqrt((a @ a) * (b @ b))
    return float(max(0.0, 1 - a @ b / size)) if size else 1.0  # an isolate such as Basque has no family to share


def weights_by_distance(groups: Sequence[Sequence[str]], examples: Sequence[int], scale: float) -> np.ndarray:
    r"""Give the weights with which each client averages all clients (chapter 13): float64, each row adds up to 1.

    Client k gives client j, with :math:`n_j` training `examples`, the weight :math:`n_j \exp(-d_{kj} / s)`, divided by
    the sum over j. :math:`d_{kj}` is the mean URIEL distance of their languages, `groups`. A large scale s leaves the
    weights of FedAvg (McMahan et al. 2017); with a small one, each client keeps its own. The exponential is ours.
    """
    distances = np.zeros((len(groups), len(groups)))
    for k, mine in enumerate(groups):
        for j, other in enumerate(groups):
            if mine is not other:
                distances[k, j] = np.mean([language_distance(a, b) for a in mine for b in other])
    raw = np.asarray(examples, dtype=np.float64) * np.exp(-distances / scale)
    return raw / raw.sum(axis=1, keepdims=True)


def _file(name: str) -> Path:
    # Found by its distribution, not imported: its script of the same name may come first on the path.
    return Path(str(distribution("lang2vec").locate_file(f"lang2vec/data/{name}")))


@functools.cache
def _letter_codes() -> dict[str, str]:
    return json.loads(_file("letter_codes.json").read_text(encoding="utf-8"))


@functools.cache
def _vectors(kind: str) -> dict[str, np.ndarray]:
    name, prefixes = KINDS[kind]
    with np.load(_file(name), allow_pickle=False) as content:
        wanted = [i for i, feature in enumerate(content["feats"]) if feature.startswith(prefixes)]
        values = content["data"][:, wanted, 0].astype(np.float64)
        return dict(zip(content["langs"].tolist(), values, strict=True))
