"""A federation that trains in the reader's browser: linear heads on stored features of real commands, and FedAvg."""

import json

from fedprompt_helpers.plots import PALETTE

from .base import Widget, read

SIZES = (4, 8, 16, 32, 48)  # sentences of each client
ROUNDS, RATE, SEED = 20, 0.05, 1


def live_federation() -> Widget:
    """Show languages that train a head alone, together and pooled; the features are those of ``make_features``.

    It trains a linear head and no prompt: the encoder, which a browser would have to download, has read the commands
    beforehand.
    """
    data = json.loads(read("features.json"))
    places = {"languages": [{"i": i, "name": one["name"]} for i, one in enumerate(data["languages"])]}
    data |= {"sizes": SIZES, "rounds": ROUNDS, "rate": RATE, "seed": SEED, "palette": PALETTE}
    return Widget("fp-fed", "live_federation", data, formula="federation_formula.js", last=len(SIZES) - 1, **places)
