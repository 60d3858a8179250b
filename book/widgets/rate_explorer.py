"""The learning rate and the loss: a few steps of a soft prompt, for given rates and, live, for any in between."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import fedprompt_helpers as fp
from fedprompt_helpers.errors import FedPromptError

from .base import Tell, Widget

if TYPE_CHECKING:
    import torch

    from fedprompt_helpers.model.training import Encoded

RATES = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def rate_explorer(
    model: "torch.nn.Module", data: "Encoded", *, rates: Sequence[float] = RATES, steps: int = 10
) -> Widget:
    """Draw the loss over a few steps of AdamW, with a slider for the learning rate; live, it stops at any and trains.

    Every training starts from the model as it is now, and leaves it as it was. A step looks at all of the examples.

    Parameters
    ----------
    model, data : torch.nn.Module, Encoded
        From ``fp.prepare``; and from ``fp.encode``, better few: a dozen short texts take a second or two.
    rates, steps : sequence of float, int
        The marks of the slider, from left to right, and how many steps.
    """
    if not rates or not min(rates) > 0 or steps < 1:
        raise FedPromptError(f"rates={tuple(rates)}, steps={steps}; give rates above 0, for example [1e-3], and a step")
    start = fp.get_arrays(model)
    if not start:
        raise FedPromptError("nothing in this model is trained; take one from fp.prepare, or unfreeze something")

    def losses(rate: float, tell: Callable[[list[float]], None] = lambda found: None) -> dict:
        found, before, error = [], fp.get_arrays(model), ""

        def note(entry: dict) -> None:
            found.append(round(entry["train_loss"], 3))
            tell(list(found))

        try:  # an epoch of one batch is a step, and its loss is that before the step: one more shows what the last did
            fp.set_arrays(model, start)
            fp.train(model, data, epochs=steps + 1, learning_rate=rate, batch_size=len(data.labels), on_epoch=note)
        except FedPromptError as failure:
            if not found:
                raise
            error = str(failure)
        finally:
            fp.set_arrays(model, before)
        return {"losses": found, "error": error}

    def reply(tell: Tell, rate: float) -> None:
        tell(losses(rate, lambda found: tell({"losses": found})))

    stored = {"rates": list(rates), "steps": steps, "chance": math.log(model.config.num_labels)}
    stored["runs"] = [losses(rate) for rate in rates]
    places = {"last": len(rates) - 1, "middle": len(rates) // 2}
    return Widget("fp-rate", "rate_explorer", stored, reply=reply, **places)
