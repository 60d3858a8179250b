"""The commands for many runs: ``python -m book.research sweep|table|tables|figures|evidence|sentences|...``."""

import os
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from fedprompt_helpers.errors import FedPromptError, check_choice
from fedprompt_helpers.records import load_record

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

RESULTS = Path("book/results")
RECORDS = RESULTS / "records.jsonl"
PAGE = Path("book/all_results.md")
EVIDENCE = RESULTS / "evidence"
# The evidence's sweeps in the order of its page.
ORDER = ("headline", "which_part", "methods", "linear", "lower_rate", "rates", "no_dev", "unequal", "afrisenti")
ORDER += ("distance", "transfer", "partitions", "recipe", "precision", "precision_linear")
SENTENCES = RESULTS / "sentences.toml"
COMMAND = "python -m book.research"

Files = Annotated[list[Path] | None, typer.Argument(help="Sweep files; default: all of the book.")]
Records = Annotated[Path, typer.Option(help="The file of run records, one JSON object a line.")]


def main() -> None:
    """Run the command; a mistake of the caller gives one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console without a letter shows ? and goes on
    try:
        code = app(prog_name=COMMAND, standalone_mode=False) or 0
        sys.stdout.flush()
    except (FedPromptError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else error
        print(f"{COMMAND}: error: {said}" if said else "", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # standard output closed or full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"{COMMAND}: error: {error.strerror or error}; free some space or choose another place", file=sys.stderr)
        sys.exit(2)
    if code == 130:  # what Typer makes of Ctrl-C
        print(f"\n{COMMAND}: stopped; the same command goes on where it stopped", file=sys.stderr)
    sys.exit(code)


@app.callback()
def about() -> None:
    """Sweeps of runs, and the tables, figures and claims that this book makes of their records."""


@app.command()
def sweep(
    files: Annotated[list[Path], typer.Argument(help="Sweep files (TOML), run in this order.")],
    records: Records = RECORDS,
    dry_run: Annotated[bool, typer.Option(help="Only check the files and say how many runs are missing.")] = False,
) -> None:
    """Run every configuration of sweep files that has no record yet; given again, it goes on where it stopped."""
    from .running import SweepProgress, check_sweeps, run_sweep
    from .sweeps import missing, read_sweep

    read = [read_sweep(file) for file in files]
    check_sweeps(read)
    for one in read:
        left = missing(one, records)
        print(f"{one.path}: {left} runs without a record", flush=True)
        if not dry_run:
            with SweepProgress(left, one.path.stem) as progress:
                run_sweep(one, records, on_run=progress.on_run, on_progress=progress.on_progress)


@app.command("table")
def print_table(
    file: Annotated[Path, typer.Argument(help="A sweep file.")],
    records: Records = RECORDS,
) -> None:
    """Print the results table of one sweep."""
    from .results import table
    from .sweeps import read_sweep

    content = table(read_sweep(file), records)
    print(content.to_string(index=False, na_rep="", float_format=lambda number: f"{number:.4g}"))


@app.command()
def tables(
    files: Files = None,
    records: Records = RECORDS,
    output: Annotated[Path, typer.Option(help="Folder for the tables, CSV files.")] = RESULTS / "tables",
    tidy: Annotated[Path, typer.Option(help="Folder for scores.csv and rounds.csv, of all records.")] = RESULTS,
    claims: Annotated[Path, typer.Option(help="The paper's claims, a TOML file.")] = RESULTS / "claims.toml",
    page: Annotated[Path, typer.Option(help="The page of all results.")] = PAGE,
) -> None:
    """Make the results tables anew from the run records; without FILES also scores.csv, rounds.csv, claims and page."""
    from .gains import write_gains
    from .results import write_tables

    sweeps = book_sweeps(files, records)
    for path in [*write_tables(sweeps, records, output), *write_gains(sweeps, records, output)]:
        print(path)
    if files:
        return
    from .claims import claims_table
    from .results_page import write_page
    from .tidy import write_tidy

    beside = None
    if claims.exists():
        beside = claims_table(claims, sweeps, records)
        beside.to_csv(output / "claims.csv", index=False, lineterminator="\n")
        print(output / "claims.csv")
    for path in [*write_tidy(records, tidy), write_page(page, sweeps, records, beside)]:
        print(path)


@app.command()
def figures(
    files: Files = None,
    records: Records = RECORDS,
    output: Annotated[Path, typer.Option(help="Folder for the figures, PNG files.")] = RESULTS / "figures",
) -> None:
    """Draw the results figures anew from the run records."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from .figures import write_figures

    for path in write_figures(book_sweeps(files, records), records, output):
        print(path)


@app.command()
def evidence(
    records: Records = RECORDS,
    folder: Annotated[Path, typer.Option(help="Folder of its sweep files, for tables and figures.")] = EVIDENCE,
    page: Annotated[Path, typer.Option(help="The page of the evidence.")] = Path("book/evidence.md"),
) -> None:
    """Make tables, figures, verdicts and page of the book's evidence anew from the run records."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from .evidence_page import write
    from .sweeps import read_sweep

    sweeps = [read_sweep(file) for name in ORDER if (file := folder / f"{name}.toml").exists()]
    for path in write(sweeps, records, folder, page):
        print(path)


@app.command()
def sentences(
    listed: Annotated[Path, typer.Option("--list", help="The concluding sentences, a TOML file.")] = SENTENCES,
) -> None:
    """List every concluding sentence of the book with the rows it stands on; exit code 1 if one does not hold."""
    from .sentences import check, lines

    wrong = [print(lines(found), end="\n\n") or bool(found[2]) for found in check(listed, Path())]
    print(f"{len(wrong)} sentences, {sum(wrong)} do not hold")
    raise typer.Exit(int(any(wrong)))


@app.command()
def verify(
    record: Annotated[
        str | None, typer.Argument(help="Name of the record to run again, or its JSON file; default: one is drawn.")
    ] = None,
    records: Records = RECORDS,
    task: Annotated[str | None, typer.Option(help="Draw among the records of this task only.")] = None,
    at_most: Annotated[float, typer.Option(help="Draw among runs of at most so many seconds.")] = 300.0,
    seed: Annotated[int, typer.Option(help="Governs the draw.")] = 0,
) -> None:
    """Run one recorded configuration again: are its data the same, and its score in the interval of its setting?"""
    from .store import open_store
    from .verification import draw, other_rows, record_digest_matches, repeat

    others = []  # names of records whose data are not those that are loaded here
    while True:
        if record is None:
            content = draw(records, task=task, at_most=at_most, seed=seed, without=others)
        elif Path(record).is_file():
            content = load_record(record)
        else:
            named = {each["name"]: each for each in open_store(records)}
            content = named[check_choice("record", record, named)]
        name, same = content["name"], record_digest_matches(content)
        if same is not False:
            break
        print(f"{name}: other data than the record's, so a score would say nothing about it; not run", flush=True)
        if record is not None:
            raise typer.Exit(1)
        others.append(name)
    told = "the same data" if same else "the record does not say what its data were"
    if changed := other_rows(content):
        told += f", though the files of {', '.join(changed)} differ from the record's in rows that it did not draw"
    print(f"running {name} again; {told}", flush=True)
    from fedprompt_helpers.progress import Progress

    outcome = repeat(content, records, Progress)
    print(
        f"recorded {outcome.recorded:.4f}, now {outcome.repeated:.4f}, 95% interval of the setting "
        f"{outcome.low:.4f} to {outcome.high:.4f}: {'inside' if outcome.inside else 'OUTSIDE'}"
    )
    raise typer.Exit(0 if outcome.inside else 1)


@app.command()
def collect(
    files: Annotated[list[Path], typer.Argument(help="Run records that `fedprompt run` wrote, or folders of them.")],
    records: Records = RECORDS,
) -> None:
    """Add run records to the file of records; a configuration that has one there keeps it."""
    from .store import open_store

    paths = [path for file in files for path in (sorted(file.glob("*.json")) if file.is_dir() else [file])]
    found, store = [load_record(path) for path in paths], open_store(records)
    added = store.add(*found)
    print(f"{records}: {added} records added, {len(found) - added} were there, {len(store)} in all")


def book_sweeps(files: list[Path] | None, records: Path) -> list:
    """Read the sweep files given, or all of the book that have a record."""
    from .sweeps import has_record, read_sweep

    if files:
        return [read_sweep(file) for file in files]
    found = [read_sweep(file) for file in sorted((RESULTS / "sweeps").glob("*.toml"))]
    if not found:
        raise FedPromptError(
            f"no sweep file in {RESULTS / 'sweeps'}; name one, or give the command in the book's folder"
        )
    there = [has_record(sweep, records) for sweep in found]
    for sweep, known in zip(found, there, strict=True):
        if not known:
            print(f"{sweep.path}: no record yet, left out")
    return [sweep for sweep, known in zip(found, there, strict=True) if known]


if __name__ == "__main__":
    main()
