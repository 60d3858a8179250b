"""How far two languages are from each other, by the URIEL typological database (Littell et al. 2017).

The vectors come from the installed package lang2vec 1.1.2 (data: CC BY-SA 4.0). Its arrays are read directly: its code
imports a module that current Python environments no longer have.
"""

import functools
import json
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from .errors import FedPromptError, check_choice

KINDS = {
    "typology": ("feature_predictions.npz", ("S_", "P_", "INV_")),
    "syntax": ("feature_predictions.npz", ("S_",)),
    "genealogy": ("family_features.npz", ("",)),
    "geography": ("geocoord_features.npz", ("",)),
}
"""Kinds of distance: the file of lang2vec, and the prefixes of its features. URIEL fills typological gaps by k nearest
neighbours; ``"typology"`` takes syntax, phonology and sound inventory together."""


def language_distance(one: str, other: str, kind: str = "typology") -> float:
    """Give the cosine distance between the URIEL vectors of two languages.

    Parameters
    ----------
    one, other : str
        ISO 639-1 or 639-3 codes, such as ``"cy"`` or ``"yor"``.
    kind : str
        One of ``KINDS``.

    Returns
    -------
    float
        From 0, the same features, to 1, none shared.

    Raises
    ------
    FedPromptError
        If the kind is unknown, or URIEL does not have a language.
    """
    vectors = _vectors(check_choice("kind of distance", kind, KINDS))
    a, b = (vectors[check_choice("language of URIEL", iso_code(code), vectors)] for code in (one, other))
    if iso_code(one) == iso_code(other):
        return 0.0
    size = np.sqrt((a @ a) * (b @ b))
    return float(max(0.0, 1 - a @ b / size)) if size else 1.0  # an isolate such as Basque has no family to share


def mean_distance(language: str, others: tuple[str, ...], kind: str = "typology") -> float:
    """Give the mean distance of a language to the others of a federation; itself, if listed, is left out."""
    distances = [language_distance(language, other, kind) for other in others if other != language]
    if not distances:
        raise FedPromptError(f"no language to compare {language!r} with; name at least one other")
    return float(np.mean(distances))


def iso_code(code: str) -> str:
    """Turn a two-letter code into the three letters that URIEL uses; Swahili's ``swa`` stays as it is."""
    return _letter_codes().get(code, code)


def _file(name: str) -> Path:
    # Found by its distribution, not imported: its script of the same name may come first on the path.
    return Path(distribution("lang2vec").locate_file(f"lang2vec/data/{name}"))


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
