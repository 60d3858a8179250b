"""A configuration as Flower carries it: ``context.run_config``, text and numbers only."""

import json
from typing import Any

from ..config import DEFAULTS, RunConfig
from ..errors import FedPromptError

NAMES = ("languages", "unseen")
EXTRA = ("output", "folder")  # keys beside the configuration: folders for the run record, and for finished rounds


def write_settings(config: RunConfig) -> dict[str, Any]:
    """Write a configuration as Flower's run configuration: names with hyphens, lists as text, nothing as empty text."""
    made = {name: "" if value is None else value for name, value in config.to_dict().items()}
    made |= {name: ",".join(made[name]) for name in NAMES}
    made["mapping"] = made["mapping"] and json.dumps(made["mapping"])
    return {name.replace("_", "-"): value for name, value in made.items()}


def read_settings(settings: dict[str, Any]) -> RunConfig:
    """Read a configuration from Flower's run configuration; what is left out takes its default."""
    values = {key.replace("-", "_"): value for key, value in settings.items() if key not in EXTRA}
    for name, value in values.items():
        if name in NAMES:
            values[name] = tuple(part.strip() for part in str(value).split(",") if part.strip())
        elif value == "":
            values[name] = None
        elif isinstance(DEFAULTS.get(name), float) and isinstance(value, int):
            values[name] = float(value)
    try:
        if values.get("mapping"):
            values["mapping"] = json.loads(values["mapping"])
    except ValueError as error:
        raise FedPromptError(f"mapping is {values['mapping']!r}; it must be a JSON list of lists of names") from error
    return RunConfig(**values)
