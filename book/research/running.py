"""Run sweeps: everything is checked first, and each record is kept as soon as its run is finished."""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.records import load_record

from .store import Store, open_store
from .sweeps import Sweep, everything, settings

UNFINISHED = "unfinished"
"""Folder beside the records where a run keeps its finished rounds, so that the next call goes on after them."""


def check_sweeps(sweeps: list[Sweep]) -> None:
    """Check every configuration of sweeps, also of the last block: its fields, then whether its languages are here.

    Raises
    ------
    FedPromptError
        Naming the sweep, the block and the value.
    """
    found = [(sweep, {config.data: config for config in everything(sweep)}) for sweep in sweeps]
    from fedprompt_helpers.data.tasks import check_languages

    for sweep, configs in found:
        for config in configs.values():
            try:
                check_languages(config)
            except FedPromptError as error:
                raise FedPromptError(f"{sweep.path.name}: {error}") from error


def run_sweep(
    sweep: Sweep,
    records: Store | str | Path,
    *,
    on_run: Callable[[RunConfig, bool], None] | None = None,
    on_progress: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Run what has no record yet, in the order of the file, one training at a time.

    Parameters
    ----------
    sweep : Sweep
        From ``sweeps.read_sweep``.
    records : path
        The file of records; made if missing.
    on_run : callable, optional
        Called with a configuration and False before it runs, and with True when its record is written.
    on_progress : callable, optional
        See ``fedprompt_helpers.run``.

    Returns
    -------
    list of dict
        The records of all settings.
    """
    check_sweeps([sweep])
    from fedprompt_helpers.runs import run

    store, tell = open_store(records), on_run or (lambda config, finished: None)
    folder = store.path.parent / UNFINISHED

    def runner(config: RunConfig) -> dict:
        if (record := store.get(config)) is None:
            tell(config, False)
            path = run(config, folder, on_progress=on_progress)
            record = load_record(path)
            store.add(record)
            path.unlink()
            tell(config, True)
        return record

    # The first point of every block's grid, then the second: what stops early has all settings of the first points.
    made, seen = [], Counter()
    for setting in settings(sweep, runner):
        made.append((seen[setting.label], setting))
        seen[setting.label] += 1
    made = [setting for _, setting in sorted(made, key=lambda pair: pair[0])]
    found = [runner(config) for setting in made for config in setting.configs]
    with suppress(OSError):  # not there, or another sweep is at work in it
        folder.rmdir()
    return found


class SweepProgress:
    """A bar over the runs of a sweep with the time left, and what the current run does."""

    def __init__(self, runs: int, name: str):
        """Prepare a bar of so many runs."""
        self.bar = tqdm(total=runs, unit="run", desc=name, dynamic_ncols=True, file=sys.stderr)
        self.current = ""

    def __enter__(self):
        """Show the bar."""
        return self

    def __exit__(self, *_):
        """Close the bar."""
        self.bar.close()

    def on_run(self, config: RunConfig, finished: bool) -> None:
        """Name the run that begins, or move on by one."""
        self.current = f"{config.federation.setting} {config.model.method} seed {config.seed}"
        self.bar.set_postfix_str(self.current, refresh=not finished)
        if finished:
            self.bar.update()

    def on_progress(self, entry: dict) -> None:
        """Say how far the current run is."""
        step = f"round {entry['round']}" if "round" in entry else f"{entry['job']} epoch {entry['epoch']}"
        self.bar.set_postfix_str(f"{self.current}: {step}, loss {entry['train_loss']:.2f}")
