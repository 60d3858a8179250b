"""The commands for many runs: ``fedprompt sweep``, ``tables``, ``figures`` and ``verify-results``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .errors import FedPromptError
from .reporting import Progress, SweepProgress

results_app = typer.Typer()

RESULTS = Path("book/results")
PAGE = Path("book/all_results.md")


@results_app.command()
def sweep(
    files: Annotated[list[Path], typer.Argument(help="Sweep files (TOML), run in this order.")],
    results: Annotated[Path, typer.Option(help="Folder for the run records.")] = RESULTS / "records",
    dry_run: Annotated[bool, typer.Option(help="Only say how many runs are missing.")] = False,
) -> None:
    """Run every configuration of sweep files that has no record yet; given again, it goes on where it stopped."""
    from . import sweeps

    read = [sweeps.read_sweep(file) for file in files]
    for one in read:
        left = sweeps.missing(one, results)
        print(f"{one.path}: {left} runs without a record", flush=True)
        if not dry_run:
            with SweepProgress(left, one.path.stem) as progress:
                sweeps.run_sweep(one, results, on_run=progress.on_run, on_progress=progress.on_progress)


@results_app.command()
def tables(
    files: Annotated[list[Path] | None, typer.Argument(help="Sweep files; default: all of the book.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the run records.")] = RESULTS / "records",
    output: Annotated[Path, typer.Option(help="Folder for the tables, CSV files.")] = RESULTS / "tables",
    claims: Annotated[Path, typer.Option(help="The paper's claims, a TOML file.")] = RESULTS / "claims.toml",
    page: Annotated[Path, typer.Option(help="The page of all results; not written for files of yours.")] = PAGE,
) -> None:
    """Make the results tables anew from the run records, and the page of all results with the paper's claims."""
    from .claims import claims_table
    from .gains import write_gains
    from .results import write_tables
    from .results_page import write_page

    sweeps = book_sweeps(files, results)
    for path in [*write_tables(sweeps, results, output), *write_gains(sweeps, results, output)]:
        print(path)
    if files:
        return
    beside = None
    if claims.exists():
        beside = claims_table(claims, sweeps, results)
        beside.to_csv(output / "claims.csv", index=False, lineterminator="\n")
        print(output / "claims.csv")
    print(write_page(page, sweeps, results, beside))


@results_app.command()
def figures(
    files: Annotated[list[Path] | None, typer.Argument(help="Sweep files; default: all of the book.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the run records.")] = RESULTS / "records",
    output: Annotated[Path, typer.Option(help="Folder for the figures, PNG files.")] = RESULTS / "figures",
) -> None:
    """Draw the results figures anew from the run records."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from .figures import write_figures

    for path in write_figures(book_sweeps(files, results), results, output):
        print(path)


@results_app.command("verify-results")
def verify_results(
    record: Annotated[Path | None, typer.Argument(help="The record to run again; default: one is drawn.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the run records.")] = RESULTS / "records",
    task: Annotated[str | None, typer.Option(help="Draw among the records of this task only.")] = None,
    at_most: Annotated[float, typer.Option(help="Draw among runs of at most so many seconds.")] = 300.0,
    seed: Annotated[int, typer.Option(help="Governs the draw.")] = 0,
) -> None:
    """Run one recorded configuration again, and check that its score lies in the interval of its setting."""
    from .verification import draw, repeat

    path = record or draw(results, task=task, at_most=at_most, seed=seed)
    print(f"running {path.stem} again", flush=True)
    outcome = repeat(path, Progress)
    print(
        f"recorded {outcome.recorded:.4f}, now {outcome.repeated:.4f}, 95% interval of the setting "
        f"{outcome.low:.4f} to {outcome.high:.4f}: {'inside' if outcome.inside else 'OUTSIDE'}"
    )
    raise typer.Exit(0 if outcome.inside else 1)


def book_sweeps(files: list[Path] | None, results: Path) -> list:
    """Read the sweep files given, or all of the book that have a record."""
    from .sweeps import has_record, read_sweep

    if files:
        return [read_sweep(file) for file in files]
    found = [read_sweep(file) for file in sorted((RESULTS / "sweeps").glob("*.toml"))]
    if not found:
        raise FedPromptError(
            f"no sweep file in {RESULTS / 'sweeps'}; name one, or give the command in the book's folder"
        )
    for sweep in found:
        if not has_record(sweep, results):
            print(f"{sweep.path}: no record yet, left out")
    return [sweep for sweep in found if has_record(sweep, results)]
