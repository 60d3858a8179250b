"""The command ``fedprompt``; the options of ``fedprompt run`` are made from the configuration, not written again."""

import inspect
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import typer

from .config import CHOICES, FIELDS, METHODS, PAPER_LANGUAGES, TASKS, TRACKS, Real, RunConfig, Whole
from .errors import FedPromptError, check_choice
from .files import read_json

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command; a mistake of the caller gives one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without a letter shows ? and goes on
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except (FedPromptError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else error
        print(f"fedprompt: error: {said}" if said else "", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # standard output closed or full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        said = " ".join(filter(None, [error.strerror or str(error), error.filename and repr(error.filename)]))
        print(f"fedprompt: error: {said}; free some space or choose another place", file=sys.stderr)
        sys.exit(2)
    if code == 130:  # what Typer makes of Ctrl-C
        then = "begins anew" if "flower" in sys.argv else "goes on after the last finished round"
        print(f"\nfedprompt: stopped; the same command {then}", file=sys.stderr)
    sys.exit(code)


@app.callback()
def about() -> None:
    """Multilingual federated prompt tuning: run experiments, and show what they gave."""
    os.environ.setdefault("MPLBACKEND", "agg")  # pictures are saved, never shown


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
        told = "JSON file for the partition mapping: for each client, its languages."
    if default not in (None, ()):
        told += f" Default: {','.join(default) if isinstance(default, tuple) else default}."
    note = Annotated[kind | None, typer.Option(help=told, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=note)


def configuration(track: str, given: dict[str, Any]) -> RunConfig:
    """Make a configuration from what was given on the command line, over the values of a track."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("languages", "unseen"):
        if name in given:
            given[name] = tuple(part.strip() for part in given[name].split(",") if part.strip())
    if given.get("patience") == 0:
        given["patience"] = None
    if "mapping" in given:
        given["mapping"] = read_json(given["mapping"], 'a JSON list of lists such as [["en", "de"], ["cy"]]')
    task = check_choice("task", given.get("task", FIELDS["task"].default), TASKS)
    if "languages" not in given and track == "paper" and task in PAPER_LANGUAGES:
        given["languages"] = PAPER_LANGUAGES[task]
    elif "languages" not in given and task != FIELDS["task"].default:
        from .data.tasks import available_languages

        given["languages"] = available_languages(task, given.get("data_dir"))[:5]
    return RunConfig(**TRACKS[check_choice("track", track, TRACKS)] | given)


@app.command()
@options_of()
def run(
    track: Annotated[str, typer.Option(help="What is not given: as pocket, or paper (GPU, hub, hours).")] = "pocket",
    output: Annotated[Path, typer.Option(help="Folder for the run record.")] = Path("runs"),
    again: Annotated[bool, typer.Option(help="Run even if this configuration has its record.")] = False,
    runtime: Annotated[Literal["here", "flower"], typer.Option(help="Own processes, or `flwr run`.")] = "here",
    **given: Any,
) -> None:
    """Run one configuration and write its run record."""
    config = configuration(track, given)
    from .data.tasks import check_languages

    check_languages(config)  # before PyTorch is loaded: a mistake is told at once
    from . import runs
    from .progress import Progress
    from .records import find_record, load_record, summary

    there = not again and find_record(output, config)
    if there:
        print("this configuration has its record already; --again runs it anew", file=sys.stderr)
    with nullcontext() if there or runtime != "here" else Progress(config) as progress:
        path = runs.run(config, output, again=again, runtime=runtime, on_progress=progress)
    print(path)
    record = load_record(path)
    for note in record["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(summary(record))


@app.command()
def tasks() -> None:
    """List the tasks, and what each is."""
    from .data.corpora import CORPORA

    for name, corpus in CORPORA.items():
        fields = f" (--text-field {' or '.join(corpus.fields)})" if corpus.fields else ""
        print(f"{name:<12} {corpus.about}{fields}")


@app.command()
def show(
    record: Annotated[Path, typer.Argument(help="A run record, a JSON file.")],
    plot: Annotated[Path | None, typer.Option(help="Where to save the plot; default: beside the record.")] = None,
) -> None:
    """Print the table of a run record and save its plot."""
    from .records import load_record, summary

    content = load_record(record)
    print(summary(content))
    for note in content["notes"]:
        print(f"note: {note}")
    from .plots import plot_rounds

    save_plot(plot_rounds(content), plot or record.with_suffix(".png"))


@app.command()
def count(
    backbone: Annotated[str, typer.Option(help="pocket, a hub id or a folder.")] = "FacebookAI/xlm-roberta-base",
    labels: Annotated[int, typer.Option(help="Classes of the head.")] = 10,
    virtual_tokens: Annotated[int, typer.Option(help="Virtual tokens of the prompt methods.")] = 8,
) -> None:
    """Count what each method trains, without loading weights."""
    import pandas as pd

    from .model.counting import count_without_weights
    from .model.methods import MethodNotAvailable

    columns, found = ["trainable", "prompt", "head", "trainable_head_twice", "total"], {}
    for method in METHODS:
        try:
            found[method] = count_without_weights(backbone, method, num_labels=labels, virtual_tokens=virtual_tokens)
        except MethodNotAvailable as error:
            print(f"note: {error}", file=sys.stderr)
    frame = pd.DataFrame(found, index=columns).T.rename_axis(columns="method")
    frame["share"] = frame["trainable"] / frame["total"]
    print(f"{backbone}, {labels} labels, {virtual_tokens} virtual tokens\n")
    print(frame.to_string(formatters=dict.fromkeys(columns, "{:,}".format) | {"share": "{:.2%}".format}))


@app.command("partition")
@options_of("task", "languages", "data_dir", "clients", "alpha", "mapping", "train_size", "seed")
def show_partition(
    scheme: Annotated[str, typer.Option("--scheme", "--partition", help="Who holds what.")] = "language",
    by: Annotated[str, typer.Option(help="Count by label or by language.")] = "label",
    plot: Annotated[Path, typer.Option(help="Where to save the picture.")] = Path("partition.png"),
    **given: Any,
) -> None:
    """Show who holds what, as a table and a picture."""
    config = configuration("pocket", given | {"partition": scheme})
    import pandas as pd

    from .data.partition import counts, deal
    from .data.tasks import load
    from .plots import plot_partition

    loaded = load(config)
    parts, languages = deal(loaded, config), loaded.languages
    for note in loaded.notes:
        print(f"note: {note}", file=sys.stderr)
    names, held = {"label": list(loaded.labels), "language": list(languages)}, counts(parts, loaded, "language")
    clients, shown = [f"{i}: {','.join(pd.Index(languages)[row > 0])}" for i, row in enumerate(held)], []
    for kind in dict.fromkeys((by, "language")):
        table = counts(parts, loaded, kind)
        frame = pd.DataFrame(table, clients, names[kind]).rename_axis(columns="client")
        frame.insert(len(names[kind]), "all", table.sum(axis=1), allow_duplicates=True)
        shown.append(frame.to_string())
    print(*shown, sep="\n\n")
    save_plot(plot_partition(counts(parts, loaded, by), names[by], clients), plot)


def save_plot(axes, target: Path) -> None:
    """Save the figure of a plot and say where."""
    try:
        axes.figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise FedPromptError(f"cannot save the plot to {target}: {error}; name a .png file with --plot") from error
    print(f"plot: {target}")
