"""The command ``fedprompt``; the options of ``fedprompt run`` are made from the configuration, not written again."""

import json
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import typer

from .checks import OWN
from .config import METHODS
from .errors import FedPromptError
from .options import configuration, options_of

app = typer.Typer(
    help="Multilingual federated prompt tuning: run experiments, and show what they gave.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip


def main() -> None:
    """Run the command; a mistake of the caller gives one line and exit code 2, never a traceback."""
    os.environ.setdefault("MPLBACKEND", "agg")  # pictures are saved, never shown
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended here too
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without a letter shows ? and goes on
    try:
        code = app(standalone_mode=False) or 0
        print(end="", flush=True)  # also where standard output is closed
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


@app.command()
@options_of()
def run(
    track: Annotated[str, typer.Option(help="What is not given: as pocket, or paper (GPU, hub, hours).")] = "pocket",
    output: Annotated[Path, typer.Option(help="Folder for the run record.")] = Path("runs"),
    again: Annotated[bool, typer.Option(help="Run even if this configuration has its record.")] = False,
    runtime: Annotated[Literal["here", "flower"], typer.Option(help="Own processes, or `flwr run`.")] = "here",
    save: Annotated[Path | None, typer.Option(help="New folder for what was trained, for `fedprompt predict`.")] = None,
    save_round: Annotated[str, typer.Option(help="Of a federation: best, last or both rounds.")] = "best",
    **given: Any,
) -> None:
    """Run one configuration and write its run record."""
    config = configuration(track, given)
    from .data.tasks import check_languages

    check_languages(config)  # before PyTorch is loaded: a mistake is told at once
    from .progress import Progress
    from .records import find_record, load_record, summary

    there = not again and find_record(output, config)
    if config.data.task in OWN and not there:
        from .inspection import look

        print(look(config), file=sys.stderr)
    if there and not save:
        print("this configuration has its record already; --again runs it anew", file=sys.stderr)
    from . import runs

    with nullcontext() if there or runtime != "here" else Progress(config) as progress:
        options = {"save": save, "save_round": save_round, "on_progress": progress}
        path = runs.run(config, output, again=again, runtime=runtime, **options)
    print(path)
    record = load_record(path)
    for note in record["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(summary(record))


@app.command()
@options_of()
def deploy_local(
    output: Annotated[Path, typer.Option(help="Folder for the run record.")] = Path("runs"),
    home: Annotated[Path | None, typer.Option(help="Folder to keep certificates, keys and logs in.")] = None,
    port: Annotated[int, typer.Option(help="Port of the SuperLink; any that is free if left out.")] = 0,
    timeout: Annotated[int, typer.Option(help="Seconds to wait for a node, each time it is asked something.")] = 300,
    save: Annotated[Path | None, typer.Option(help="New folder for what was trained, for `fedprompt predict`.")] = None,
    **given: Any,
) -> None:
    """Run one configuration as a SuperLink and a SuperNode a client, with TLS and keys, on this machine."""
    from .deploy import deploy_local
    from .progress import Lines
    from .records import load_record, summary

    kept, config = nullcontext(home) if home else tempfile.TemporaryDirectory(), configuration("pocket", given)
    with kept as folder, Lines(config.federation.rounds) as hear:
        path = deploy_local(config, output, home=Path(folder), port=port, timeout=timeout, save=save, hear=hear)
    print(path, summary(load_record(path)), sep="\n")


@app.command()
def predict(
    adapter: Annotated[Path, typer.Option(help="Folder that `fedprompt run --save` wrote.")],
    text: Annotated[list[str] | None, typer.Option(help="A text, or two with a tab between; may be repeated.")] = None,
    file: Annotated[Path | None, typer.Option(help="One text a line; left out: standard input.")] = None,
    language: Annotated[str | None, typer.Option(help="Forbid labels that this language does not have.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Print label and probability of texts; of a pair of sentences, the second stands after a tab."""
    if text and file:
        raise FedPromptError("--text and --file are both given; give one of the two")
    from .texts import as_texts, read_lines

    lines = as_texts(text or read_lines(file))  # before PyTorch is loaded: a mistake is told at once
    from .adapters import classify, load_adapter

    loaded = load_adapter(adapter)
    rows = [line.split("\t") if loaded.pairs else [line] for line in lines]
    if wrong := [number for number, row in enumerate(rows, 1) if len(row) != 1 + loaded.pairs]:
        raise FedPromptError(f"text {wrong[0]} is no pair; this model reads two sentences with a tab between them")
    guesses = classify(loaded, *map(list, zip(*rows, strict=True)), language=language)
    for row, guess in zip(rows, guesses, strict=True):
        facts = {"label": guess.label, "probability": round(guess.probability, 4)}
        facts |= dict(zip(("text", "text_pair"), row, strict=False))
        print(json.dumps(facts, ensure_ascii=False) if json_lines else f"{guess.label}\t{guess.probability:.3f}")
    if cut := sum(guess.cut for guess in guesses):
        length = loaded.frozen.length
        print(f"note: {cut} of {len(guesses)} texts are longer than {length} tokens and were cut", file=sys.stderr)


@app.command()
@options_of("languages", "unseen", "data_dir", "columns", "split_names", "quotes", "label_budget", "train_size", "seed")
def check(
    task: Annotated[str, typer.Option(help="The task; your own data if left out.")] = "own",
    max_length: Annotated[int, typer.Option(help="Longest text, in tokens.")] = 64,
    backbone: Annotated[str, typer.Option(help="Whose tokenizer reads the texts.")] = "pocket",
    **given: Any,
) -> None:
    """Sum up data and name what is odd about them; nothing is trained."""
    config = configuration("pocket", given | {"task": task, "max_length": max_length, "backbone": backbone})
    from .inspection import look

    print(look(config))


@app.command()
def doctor() -> int:
    """Say what this machine has for the book, and what to do about what is missing."""
    from .doctor import findings

    code = 0
    for finding in findings():
        mark = "no" if finding.needed and finding.step else "note" if finding.step else "ok"
        print(f"{mark:<5}{finding.name:<11}{finding.found}", flush=True)
        if finding.step:
            print(f"{'':<16}-> {finding.step}", flush=True)
        code = 1 if mark == "no" else code
    return code


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
    from .plots import plot_rounds, save_plot

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
    plot: Annotated[Path, typer.Option(help="Where to save the picture.")] = Path("partition.png"),
    **given: Any,
) -> None:
    """Show who holds what, as a table and a picture."""
    config = configuration("pocket", given | {"partition": scheme})
    import pandas as pd

    from .data.partition import counts, deal
    from .data.tasks import load
    from .plots import plot_partition, save_plot

    loaded = load(config)
    parts, shown = deal(loaded, config), []
    for note in loaded.notes:
        print(f"note: {note}", file=sys.stderr)
    labels, held = (counts(parts, loaded, kind) for kind in ("label", "language"))
    clients = [f"{i}: {','.join(pd.Index(loaded.languages)[row > 0])}" for i, row in enumerate(held)]
    for table, names in ((labels, loaded.labels), (held, loaded.languages)):
        frame = pd.DataFrame(table, clients, list(names)).rename_axis(columns="client")
        frame.insert(len(names), "all", table.sum(axis=1), allow_duplicates=True)
        shown.append(frame.to_string())
    print(*shown, sep="\n\n")
    save_plot(plot_partition(labels, list(loaded.labels), clients), plot)
