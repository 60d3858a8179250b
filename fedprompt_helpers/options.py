"""The options of the command line, made from the configuration, and the configuration made from them."""

import inspect
from typing import Annotated, Any

import typer

from .checks import OWN
from .config import CHOICES, FIELDS, PAPER_LANGUAGES, TASKS, TRACKS, Real, RunConfig, Whole, from_text
from .errors import check_choice


def options_of(*names: str):
    """Give a command one option for each field of the configuration named, or for all of them and the seed.

    A function so decorated takes what was given on the command line alone, as values of ``RunConfig``.
    """

    def decorate(command):
        own = list(inspect.signature(command).parameters.values())[:-1]
        command.__signature__ = inspect.Signature(own + [_option(name) for name in names or [*FIELDS, "seed"]])
        return command

    return decorate


def _option(name: str) -> inspect.Parameter:
    field = (FIELDS | RunConfig.model_fields)[name]
    kind = next((kind for kind, of in ((int, Whole), (float, Real)) if field.annotation in (kind, of | None)), str)
    told, default = field.description, field.default
    if name in CHOICES:
        told += f" One of {', '.join(CHOICES[name])}."
    if name in ("languages", "unseen"):
        told += " Separated by commas."
    if name == "mapping":
        told = "For the partition mapping: for each client, its languages, as JSON or the name of a JSON file."
    if default not in (None, ()):
        told += f" Default: {','.join(default) if isinstance(default, tuple) else default}."
    note = Annotated[kind | None, typer.Option(help=told, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=note)


def configuration(track: str, given: dict[str, Any]) -> RunConfig:
    """Make a configuration from what was given on the command line, over the values of a track."""
    given = from_text({name: value for name, value in given.items() if value is not None})
    task = check_choice("task", given.get("task", FIELDS["task"].default), TASKS)
    if "languages" not in given and track == "paper" and task in PAPER_LANGUAGES:
        given["languages"] = PAPER_LANGUAGES[task]
    elif "languages" not in given and task != FIELDS["task"].default:
        from .data.tasks import available_languages

        named = {name: given[name] for name in ("columns", "split_names", "quotes") if name in given}
        found = available_languages(task, given.get("data_dir"), **named)
        left = tuple(language for language in found if language not in given.get("unseen", ()))
        given["languages"] = left if task in OWN else found[:5]
    return RunConfig(**TRACKS[check_choice("track", track, TRACKS)] | given)
