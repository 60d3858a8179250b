"""Who holds what, with a slider for alpha."""

from collections.abc import Sequence

from fedprompt_helpers.data.partition import counts, mean_total_variation, partition
from fedprompt_helpers.data.tasks import Task
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.plots import PALETTE

from .base import Tell, Widget

ALPHAS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # in about equal steps on a log scale


def _deal(task: Task, scheme: str, **arguments) -> dict:
    """Count what each client holds."""
    parts = partition(task, scheme, **arguments)
    tables = {by: counts(parts, task, by) for by in ("label", "language")}
    distance = [round(mean_total_variation(table), 3) for table in tables.values()]
    return {by: table.tolist() for by, table in tables.items()} | {"distance": distance}


def _frame(*asked, **arguments) -> dict | None:
    """Count the same; None if a client would hold nothing, since all else is checked before."""
    try:
        return _deal(*asked, **arguments)
    except FedPromptError:
        return None


def partition_explorer(
    task: Task, *, clients: int | None = None, alphas: Sequence[float] = ALPHAS, seeds: Sequence[int] = (0, 1, 2)
) -> Widget:
    """Show who holds what, with a slider for alpha: `alphas` are drawn beforehand, and live any other may be typed.

    Parameters
    ----------
    task : Task
        The task.
    clients : int, optional
        Number of clients; default: as many as languages. Another number leaves out the partition by language.
    alphas, seeds : sequence of float, sequence of int
        The steps of the slider, from left to right, and the draws to choose from.
    """
    if not alphas or not seeds:
        raise FedPromptError("the explorer needs at least one alpha and one seed, for example alphas=[0.1, 1, 10]")
    partition(task, "iid", clients=clients, seed=min(seeds))
    if not min(alphas) > 0:
        raise FedPromptError(f"alpha is {min(alphas)}; a Dirichlet concentration must be above 0, for example 0.5")
    kinds, own = ("dirichlet-label", "dirichlet-language"), {"clients": clients}
    frames = {x: [[_frame(task, x, alpha=a, seed=s, **own) for a in alphas] for s in seeds] for x in kinds}
    if clients in (None, len(task.languages)):
        frames["language"] = [[_frame(task, "language")]]
    frames["iid"] = [[_frame(task, "iid", seed=seed, **own)] for seed in seeds]

    def reply(tell: Tell, **asked) -> None:
        tell({"frame": _deal(task, **asked, **own)})

    data = {"label": task.labels, "language": task.languages, "alphas": alphas, "seeds": seeds}
    data |= {"palette": PALETTE, "frames": frames}
    draws = [{"i": i, "seed": seed, "on": "" if i else " checked"} for i, seed in enumerate(seeds)]
    places = {"draws": draws, "last": len(alphas) - 1, "middle": len(alphas) // 2}
    return Widget("fp-who", "partition_explorer", data, reply=reply, **places)
