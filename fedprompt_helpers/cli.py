"""The command ``fedprompt``."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_results import results_app
from .errors import FedPromptError, check_choice
from .reporting import Progress, summary

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(results_app)


def main() -> None:
    """Run the command; a mistake of the caller gives one line and exit code 2, never a traceback."""
    try:
        app()
    except FedPromptError as error:
        print(f"fedprompt: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nfedprompt: stopped; the same command goes on after the last finished round", file=sys.stderr)
        sys.exit(130)


@app.callback()
def about() -> None:
    """Multilingual federated prompt tuning: run experiments, and show what they gave."""


@app.command()
def run(
    context: typer.Context,
    track: Annotated[
        str, typer.Option(help="Values for what is not given: pocket, or paper (a GPU, hub access, hours).")
    ] = "pocket",
    task: Annotated[str, typer.Option(help="The task; `fedprompt tasks` lists them.")] = "intents",
    languages: Annotated[
        str | None, typer.Option(help="Languages, separated by commas; default: five of the task.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the task's files; default: $FEDPROMPT_DATA, else the hub.")
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Which text is read, where there are several.")] = None,
    method: Annotated[
        str, typer.Option(help="prompt-tuning, p-tuning, prefix-tuning, lora, head or full.")
    ] = "p-tuning",
    setting: Annotated[str, typer.Option(help="federated, local or centralised.")] = "federated",
    backbone: Annotated[str, typer.Option(help="pocket, a hub id, or a Hugging Face folder.")] = "pocket",
    rounds: Annotated[int, typer.Option(help="Rounds of the federation.")] = 5,
    local_epochs: Annotated[int, typer.Option(help="Epochs that each client trains in a round.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="AdamW's learning rate.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Examples a training step.")] = 8,
    patience: Annotated[int, typer.Option(help="Stop after this many epochs without a lower dev loss; 0: never.")] = 5,
    virtual_tokens: Annotated[int, typer.Option(help="Virtual tokens of the prompt methods.")] = 8,
    prompt_init: Annotated[
        str, typer.Option(help="Prompt tuning starts from: vocabulary (vectors of drawn words), random.")
    ] = "vocabulary",
    train_size: Annotated[int | None, typer.Option(help="Training examples a language at most.")] = None,
    dev_size: Annotated[int | None, typer.Option(help="Dev examples a language at most.")] = None,
    max_length: Annotated[int, typer.Option(help="Longest text, in tokens.")] = 64,
    partition: Annotated[
        str,
        typer.Option(help="language, mapping, iid, dirichlet-label, dirichlet-language or dirichlet-both."),
    ] = "language",
    mapping: Annotated[
        Path | None, typer.Option(help="JSON file for the partition mapping: for each client, its languages.")
    ] = None,
    unseen: Annotated[str, typer.Option(help="Languages that are only tested, separated by commas.")] = "",
    clients: Annotated[int | None, typer.Option(help="Number of clients; default: one a language.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Dirichlet concentration.")] = None,
    aggregation: Annotated[
        str, typer.Option(help="fedavg, fedprox, fedavgm, fedadam, fedmedian, krum or fedavg-distance.")
    ] = "fedavg",
    distance_scale: Annotated[
        float, typer.Option(help="fedavg-distance: URIEL distance at which a weight has fallen to about a third.")
    ] = 0.2,
    proximal_mu: Annotated[float, typer.Option(help="FedProx: weight of the proximal term.")] = 0.01,
    server_learning_rate: Annotated[
        float | None, typer.Option(help="FedAvgM, FedAdam: the server's learning rate; default: 1, FedAdam's 0.1.")
    ] = None,
    server_momentum: Annotated[float, typer.Option(help="FedAvgM, FedAdam: the server's momentum.")] = 0.9,
    update_precision: Annotated[str, typer.Option(help="Updates travel as float32, float16 or int8.")] = "float32",
    head: Annotated[str, typer.Option(help="The classification head: shared, or local to each client.")] = "shared",
    head_start: Annotated[
        str, typer.Option(help="Where the head starts: random, or prototypes, class means that the clients add up.")
    ] = "random",
    personal_epochs: Annotated[int, typer.Option(help="Epochs of each client on its own, at the end.")] = 0,
    min_share: Annotated[
        float, typer.Option(help="Stop if fewer than this share of the clients send a sound update.")
    ] = 0.5,
    precision: Annotated[
        str, typer.Option(help="Data type of the frozen weights: auto, float32 or bfloat16.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Governs everything that is drawn.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the run record.")] = Path("runs"),
    again: Annotated[bool, typer.Option(help="Run even if this configuration has its record.")] = False,
) -> None:
    """Run one configuration and write its run record."""
    from .config import TRACKS, RunConfig

    values = dict(
        task=task,
        languages=chosen_languages(task, languages, data_dir, track),
        data_dir=str(data_dir) if data_dir else None,
        text_field=text_field,
        backbone=backbone,
        method=method,
        virtual_tokens=virtual_tokens,
        prompt_init=prompt_init,
        setting=setting,
        rounds=rounds,
        local_epochs=local_epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        patience=patience or None,
        mapping=read_mapping(mapping) if mapping else None,
        unseen=split_names(unseen),
        max_length=max_length,
        train_size=train_size,
        dev_size=dev_size,
        partition=partition,
        clients=clients,
        alpha=alpha,
        aggregation=aggregation,
        distance_scale=distance_scale,
        proximal_mu=proximal_mu,
        server_learning_rate=server_learning_rate,
        server_momentum=server_momentum,
        update_precision=update_precision,
        head=head,
        head_start=head_start,
        personal_epochs=personal_epochs,
        min_share=min_share,
        precision=precision,
        seed=seed,
    )
    for name, value in TRACKS[check_choice("track", track, TRACKS)].items():
        if context.get_parameter_source(name).name == "DEFAULT":
            values[name] = value
    config = RunConfig(**values)
    config.check_languages()
    from . import experiments
    from .clients import load_clients

    path = output / f"{experiments.record_name(config)}.json"
    if path.exists() and not again:
        experiments.check_data(path, config)
        print(f"this configuration has its record already; --again runs it anew\n{path}\n")
    else:
        for note in load_clients(config).notes:
            print(f"note: {note}", file=sys.stderr)
        with Progress(config) as progress:
            experiments.run(config, output, again=again, on_progress=progress)
        print(path)
    print(summary(experiments.load_record(path)))


@app.command()
def tasks() -> None:
    """List the tasks, and what each is."""
    from .tasks import TASKS

    for name, task in TASKS.items():
        fields = f" (--text-field {' or '.join(task.fields)})" if task.fields else ""
        print(f"{name:<12} {task.about}{fields}")


@app.command()
def show(
    record: Annotated[Path, typer.Argument(help="A run record, a JSON file.")],
    plot: Annotated[Path | None, typer.Option(help="Where to save the plot; default: beside the record.")] = None,
) -> None:
    """Print the table of a run record and save its plot."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from . import experiments, plots

    content = experiments.load_record(record)
    print(summary(content))
    for note in content["notes"]:
        print(f"note: {note}")
    save_plot(plots.plot_rounds(content), plot or record.with_suffix(".png"))


@app.command()
def count(
    backbone: Annotated[str, typer.Option(help="pocket, a hub id or a folder.")] = "FacebookAI/xlm-roberta-base",
    labels: Annotated[int, typer.Option(help="Classes of the head.")] = 10,
    virtual_tokens: Annotated[int, typer.Option(help="Virtual tokens of the prompt methods.")] = 8,
) -> None:
    """Count what each method trains, without loading weights."""
    from .accounting import count_without_weights
    from .tuning import METHODS, MethodNotAvailable

    if labels < 2:
        raise FedPromptError(f"--labels is {labels}; a classification head needs at least 2")
    print(f"{backbone}, {labels} labels, {virtual_tokens} virtual tokens\n")
    print(f"{'method':<15}{'trainable':>13}{'prompt':>13}{'head':>11}{'head twice':>13}{'total':>14}{'share':>9}")
    for method in METHODS:
        try:
            n = count_without_weights(backbone, method, num_labels=labels, virtual_tokens=virtual_tokens)
        except MethodNotAvailable:
            print(f"{method:<15}{'not available on this backbone':>38}")
            continue
        print(
            f"{method:<15}{n['trainable']:>13,}{n['prompt']:>13,}{n['head']:>11,}{n['trainable_head_twice']:>13,}"
            f"{n['total']:>14,}{100 * n['trainable'] / n['total']:>8.2f}%"
        )


@app.command("partition")
def show_partition(
    task: Annotated[str, typer.Option(help="The task; `fedprompt tasks` lists them.")] = "intents",
    languages: Annotated[str | None, typer.Option(help="Languages, separated by commas.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the task's files.")] = None,
    scheme: Annotated[
        str, typer.Option("--scheme", "--partition", help="Who holds what, as --partition of `fedprompt run`.")
    ] = "language",
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Dirichlet concentration.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="JSON file: for each client, its languages.")] = None,
    by: Annotated[str, typer.Option(help="Count by label or by language.")] = "label",
    train_size: Annotated[int | None, typer.Option(help="Training examples a language at most.")] = None,
    seed: Annotated[int, typer.Option(help="Governs the draw.")] = 0,
    plot: Annotated[Path, typer.Option(help="Where to save the picture.")] = Path("partition.png"),
) -> None:
    """Show who holds what, as a table and a picture."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from . import plots
    from .partition import counts, partition
    from .tasks import load_task

    chosen = chosen_languages(task, languages, data_dir)
    loaded = load_task(task, chosen, seed=seed, train_size=train_size, data_dir=data_dir)
    groups = read_mapping(mapping) if mapping else None
    parts = partition(loaded, scheme, clients=clients, alpha=alpha, mapping=groups, seed=seed)
    for note in loaded.notes:
        print(f"note: {note}", file=sys.stderr)
    held = counts(parts, loaded, "language")
    rows = [f"{i}: {','.join(name for name, n in zip(chosen, row, strict=True) if n)}" for i, row in enumerate(held)]
    print_counts(counts(parts, loaded, by), list(loaded.labels if by == "label" else chosen), rows)
    if by == "label" and (held.astype(bool).sum(1) > 1).any():
        print()
        print_counts(held, list(chosen), rows)
    columns = list(loaded.labels if by == "label" else chosen)
    save_plot(plots.plot_partition(counts(parts, loaded, by), columns, rows), plot)


def print_counts(table, columns: list[str], rows: list[str]) -> None:
    """Print numbers of examples, one row a client."""
    width, first = max(10, *(len(name) + 2 for name in columns)), max(8, *(len(name) + 2 for name in rows))
    print("client".ljust(first) + "".join(name.rjust(width) for name in columns) + "all".rjust(width))
    for name, row in zip(rows, table, strict=True):
        print(name.ljust(first) + "".join(str(n).rjust(width) for n in row) + str(row.sum()).rjust(width))


def split_names(names: str) -> tuple[str, ...]:
    """Split names at commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def read_mapping(path: Path) -> list[list[str]]:
    """Read which languages each client holds: a JSON list of lists of names."""
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(mapping, list) and all(isinstance(group, list) for group in mapping)
        assert all(isinstance(name, str) for group in mapping for name in group)
    except (OSError, ValueError, TypeError, AssertionError) as error:
        raise FedPromptError(
            f'cannot read a mapping from {path}; expected a JSON list of lists such as [["en", "de"], ["cy"]]'
        ) from error
    return mapping


def chosen_languages(task: str, languages: str | None, data_dir: Path | None, track: str = "pocket") -> tuple[str, ...]:
    """Split the languages given, or choose those of the track, or the first five of the task."""
    from .config import PAPER_LANGUAGES, RunConfig
    from .tasks import TASKS, available_languages

    if languages is not None:
        return split_names(languages)
    check_choice("task", task, TASKS)
    if track == "paper" and task in PAPER_LANGUAGES:
        return PAPER_LANGUAGES[task]
    return RunConfig.languages if task == RunConfig.task else available_languages(task, data_dir)[:5]


def save_plot(axes, target: Path) -> None:
    """Save the figure of a plot and say where."""
    try:
        axes.figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise FedPromptError(f"cannot save the plot to {target}: {error}; name a .png file with --plot") from error
    print(f"plot: {target}")
