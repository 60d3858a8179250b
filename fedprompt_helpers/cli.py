"""The command ``fedprompt``."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from .errors import FedPromptError, check_choice

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


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
    train_size: Annotated[int | None, typer.Option(help="Training examples a language at most.")] = None,
    max_length: Annotated[int, typer.Option(help="Longest text, in tokens.")] = 64,
    partition: Annotated[
        str, typer.Option(help="Who holds what: language, iid, dirichlet-label or dirichlet-language.")
    ] = "language",
    clients: Annotated[int | None, typer.Option(help="Number of clients; default: one a language.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Dirichlet concentration.")] = None,
    aggregation: Annotated[str, typer.Option(help="fedavg, fedprox, fedavgm, fedadam, fedmedian or krum.")] = "fedavg",
    proximal_mu: Annotated[float, typer.Option(help="FedProx: weight of the proximal term.")] = 0.01,
    server_learning_rate: Annotated[float, typer.Option(help="FedAvgM, FedAdam: the server's learning rate.")] = 1.0,
    server_momentum: Annotated[float, typer.Option(help="FedAvgM, FedAdam: the server's momentum.")] = 0.9,
    update_precision: Annotated[str, typer.Option(help="Updates travel as float32, float16 or int8.")] = "float32",
    head: Annotated[str, typer.Option(help="The classification head: shared, or local to each client.")] = "shared",
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
    from .config import RunConfig

    config = RunConfig(
        task=task,
        languages=chosen_languages(task, languages, data_dir),
        data_dir=str(data_dir) if data_dir else None,
        text_field=text_field,
        backbone=backbone,
        method=method,
        virtual_tokens=virtual_tokens,
        setting=setting,
        rounds=rounds,
        local_epochs=local_epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        patience=patience or None,
        max_length=max_length,
        train_size=train_size,
        partition=partition,
        clients=clients,
        alpha=alpha,
        aggregation=aggregation,
        proximal_mu=proximal_mu,
        server_learning_rate=server_learning_rate,
        server_momentum=server_momentum,
        update_precision=update_precision,
        head=head,
        personal_epochs=personal_epochs,
        min_share=min_share,
        precision=precision,
        seed=seed,
    )
    from . import experiments

    path = output / f"{experiments.record_name(config)}.json"
    if path.exists() and not again:
        print(f"this configuration has its record already; --again runs it anew\n{path}\n")
    else:
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
    save_plot(plots.plot_rounds(content), plot or record.with_suffix(".png"))


@app.command()
def count(
    backbone: Annotated[str, typer.Option(help="pocket, a hub id or a folder.")] = "FacebookAI/xlm-roberta-base",
    labels: Annotated[int, typer.Option(help="Classes of the head.")] = 10,
    virtual_tokens: Annotated[int, typer.Option(help="Virtual tokens of the prompt methods.")] = 8,
) -> None:
    """Count what each method trains, without loading weights."""
    from .accounting import count_without_weights
    from .tuning import METHODS

    print(f"{backbone}, {labels} labels, {virtual_tokens} virtual tokens\n")
    print(f"{'method':<15}{'trainable':>13}{'prompt':>13}{'head':>11}{'head twice':>13}{'total':>14}{'share':>9}")
    for method in METHODS:
        n = count_without_weights(backbone, method, num_labels=labels, virtual_tokens=virtual_tokens)
        print(
            f"{method:<15}{n['trainable']:>13,}{n['prompt']:>13,}{n['head']:>11,}{n['trainable_head_twice']:>13,}"
            f"{n['total']:>14,}{100 * n['trainable'] / n['total']:>8.2f}%"
        )


@app.command("partition")
def show_partition(
    task: Annotated[str, typer.Option(help="The task; `fedprompt tasks` lists them.")] = "intents",
    languages: Annotated[str | None, typer.Option(help="Languages, separated by commas.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the task's files.")] = None,
    scheme: Annotated[str, typer.Option(help="language, iid, dirichlet-label or dirichlet-language.")] = "language",
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Dirichlet concentration.")] = None,
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
    table = counts(partition(loaded, scheme, clients=clients, alpha=alpha, seed=seed), loaded, by)
    columns = list(loaded.labels if by == "label" else loaded.languages)
    width = max(10, *(len(name) + 2 for name in columns))
    print("client".ljust(8) + "".join(name.rjust(width) for name in columns) + "all".rjust(width))
    for i, row in enumerate(table):
        print(str(i).ljust(8) + "".join(str(n).rjust(width) for n in row) + str(row.sum()).rjust(width))
    save_plot(plots.plot_partition(table, columns), plot)


def chosen_languages(task: str, languages: str | None, data_dir: Path | None) -> tuple[str, ...]:
    """Split the languages given, or choose the first five of the task."""
    from .config import RunConfig
    from .tasks import TASKS, available_languages

    if languages is not None:
        return tuple(name.strip() for name in languages.split(",") if name.strip())
    check_choice("task", task, TASKS)
    return RunConfig.languages if task == RunConfig.task else available_languages(task, data_dir)[:5]


def save_plot(axes, target: Path) -> None:
    """Save the figure of a plot and say where."""
    try:
        axes.figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise FedPromptError(f"cannot save the plot to {target}: {error}; name a .png file with --plot") from error
    print(f"plot: {target}")


class Progress:
    """A progress bar that says round, loss, accuracy per language and bytes sent."""

    def __init__(self, config):
        """Prepare a bar of as many steps as the run has rounds, or epochs."""
        steps = config.rounds
        if config.setting != "federated":
            jobs = len(config.languages) if config.setting == "local" else 1
            steps *= config.local_epochs * jobs
        unit = "round" if config.setting == "federated" else "epoch"
        self.bar = tqdm(total=steps, unit=unit, desc="starting", dynamic_ncols=True, file=sys.stderr)
        self.sent = 0

    def __enter__(self):
        """Show the bar."""
        return self

    def __exit__(self, *_):
        """Close the bar."""
        self.bar.close()

    def __call__(self, entry: dict) -> None:
        """Move on by one round or epoch."""
        self.bar.update()
        if "round" in entry:
            self.sent += sum(entry["bytes"].values())
            scores = " ".join(f"{name} {s['accuracy']:.2f}" for name, s in entry["dev"].items())
            if entry.get("resumed"):
                self.bar.set_description(f"round {entry['round']} was finished before", refresh=False)
            else:
                self.bar.set_description(f"round {entry['round']}", refresh=False)
            for failure in entry["failed"]:
                tqdm.write(
                    f"round {entry['round']}: without client {failure['client']}: it {failure['why']}", file=sys.stderr
                )
            self.bar.set_postfix_str(
                f"loss {entry['train_loss']:.3f}, dev accuracy {scores}, {self.sent / 1e6:.1f} MB sent"
            )
        else:
            self.bar.set_description(f"{entry['job']} epoch {entry['epoch']}", refresh=False)
            self.bar.set_postfix_str(f"loss {entry['train_loss']:.3f}, dev accuracy {entry['dev_accuracy']:.2f}")


def summary(record: dict) -> str:
    """Write a run record as a plain text table."""
    config, count = record["config"], record["parameters"]
    lines = [
        f"{record['name']}: {config['method']}, {config['setting']}, {config['task']}, seed {config['seed']}",
        "",
        f"{'language':<10}{'train':>7}{'test':>7}{'majority':>10}{'accuracy':>10}{'macro-F1':>10}",
    ]
    for name, scores in record["test"].items():
        examples = record["examples"][name]
        lines.append(
            f"{name:<10}{examples['train']:>7}{examples['test']:>7}{record['majority'][name]:>10.3f}"
            f"{scores['accuracy']:>10.3f}{scores['macro_f1']:>10.3f}"
        )
    mean = record["mean_test"]
    lines += [f"{'mean':<34}{mean['accuracy']:>10.3f}{mean['macro_f1']:>10.3f}", ""]
    lines.append(
        f"trained {count['trainable']:,} of {count['total']:,} parameters "
        f"({count['prompt']:,} prompt, {count['head']:,} head)"
    )
    if "rounds" in record:
        per_round = [entry["bytes"]["train_up"] / len(record["clients"]) for entry in record["rounds"]]
        total = sum(sum(entry["bytes"].values()) for entry in record["rounds"])
        update = sum(per_round) / len(per_round)
        lines += [
            f"in the message: {record['message_parameters']:,} parameters, {update:,.0f} bytes an update, "
            f"{100 * update / count['full_model_bytes']:.2f}% of the full model's {count['full_model_bytes']:,}",
            f"best round {record['best_round']} of {len(record['rounds'])}; "
            f"{total / 1e6:.1f} MB sent in all, both ways",
        ]
    lines.append(f"backbone bit-identical before and after: {_identical(record)}")
    lines.append(f"{record['seconds']:.0f} s")
    return "\n".join(lines)


def _identical(record: dict) -> str:
    if record["config"]["method"] == "full":
        return "no, full fine-tuning changes it"
    digest = record["frozen_digest"]
    return "yes" if digest["before"] == digest["after"] else "NO"
