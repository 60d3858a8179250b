"""The federation on one machine: Flower's simulation of the ServerApp and the ClientApp."""

from collections.abc import Sequence
from pathlib import Path

from . import simulation
from .client_app import make_client_app
from .clients import load_clients
from .config import RunConfig
from .errors import FedPromptError
from .server_app import OnRound, Outcome, make_server_app, make_strategy
from .updates import from_record, to_record

__all__ = ["Outcome", "from_record", "make_client_app", "make_server_app", "make_strategy", "simulate", "to_record"]


def simulate(
    config: RunConfig,
    on_round: OnRound | None = None,
    *,
    folder: str | Path | None = None,
    mods: Sequence = (),
) -> Outcome:
    """Run the federation on this machine: Flower's simulation, one process a core.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    on_round : callable, optional
        Called after each round with its entry, see ``Outcome.rounds``; rounds read from a checkpoint carry
        ``resumed=True``.
    folder : path, optional
        Where finished rounds are kept; a later call with the same folder goes on after them. Needed for
        ``head="local"``, whose clients keep their heads there.
    mods : sequence
        Flower mods for the ClientApp.

    Returns
    -------
    Outcome

    Raises
    ------
    FedPromptError
        If too few clients send a sound update, or one cannot score its languages.
    """
    if config.head == "local" and folder is None:
        raise FedPromptError("head='local' needs a folder where clients keep their heads; give simulate a folder")
    load_clients(config)  # mistakes in backbone or data surface here, before any round; the processes share it
    checkpoint = None
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        checkpoint = Path(folder).absolute() / "checkpoint.pickle"
    outbox: list[Outcome | Exception] = []
    simulation.run(
        make_server_app(config, outbox, on_round, checkpoint),
        make_client_app(config, mods, str(Path(folder).absolute()) if folder else None),
        config.num_clients,
    )
    if not outbox:
        raise FedPromptError("the simulation ended without a result; run it again with FLWR_LOG_LEVEL=INFO")
    if isinstance(outbox[0], Exception):
        raise outbox[0]
    return outbox[0]
