"""The book's federation with clients that misbehave, and its simulation with them."""

import json
from pathlib import Path

from flwr.clientapp import ClientApp

from fedprompt_helpers.clients import nodes
from fedprompt_helpers.federation.client import ABOUT, ALONE, STATISTICS, client_app
from fedprompt_helpers.federation.grid import run_here
from fedprompt_helpers.federation.messages import from_record
from fedprompt_helpers.federation.state import Outcome
from fedprompt_helpers.runs import server_app


def with_mods(*mods) -> ClientApp:
    """The ClientApp of the book behind Flower mods."""
    app = ClientApp(mods=list(mods))

    def answer(message, context):
        return client_app(message, context)

    for action in (app.query(), app.query(ABOUT), app.query(STATISTICS), app.train(), app.train(ALONE), app.evaluate()):
        action(answer)
    return app


def simulate(config, on_round=None, *, mods=(), folder: Path | None = None, **options) -> Outcome:
    """Run a configuration as `fp.simulate` does, with mods around every message of the clients."""
    settings = config.to_text() | {"folder": str(folder) if folder else ""}
    app, tell = with_mods(*mods), on_round or (lambda entry: None)
    state = run_here(server_app, app, nodes(config), run_config=settings, on_word=tell, **options).state
    outcome = Outcome(**json.loads(state["outcome"]["facts"]))
    outcome.arrays = from_record(state["arrays"])
    outcome.own = {name[4:]: from_record(record) for name, record in state.items() if name.startswith("own/")}
    return outcome
