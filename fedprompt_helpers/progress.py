"""A progress bar that says round or epoch, loss, accuracy by language and bytes sent."""

import re
import sys

from tqdm import tqdm

from .config import RunConfig


class Progress(tqdm):
    """A bar over the rounds of a federation, or the epochs of training without one; called with each entry."""

    def __init__(self, config: RunConfig):
        jobs = {"federated": 0, "local": len(config.data.languages), "centralised": 1}[config.federation.setting]
        steps, unit = (config.epochs * jobs, "epoch") if jobs else (config.federation.rounds, "round")
        super().__init__(total=steps, unit=unit, desc="starting", dynamic_ncols=True, file=sys.stderr)
        self.sent = 0

    def __exit__(self, *error):
        """Close the bar; wipe it if nothing was done, so that an error stands alone."""
        self.leave = self.n > 0
        super().__exit__(*error)

    def __call__(self, entry: dict) -> None:
        """Move on by one round or epoch."""
        self.update()
        step = f"round {entry['round']}" if "round" in entry else f"{entry['job']} epoch {entry['epoch']}"
        self.set_description(f"{step} was finished before" if entry.get("resumed") else step, refresh=False)
        for failure in entry.get("failed", ()):
            self.write(f"{step}: without client {failure['client']}: it {failure['why']}", file=sys.stderr)
        said = f"{entry['dev_accuracy']:.2f}" if "dev_accuracy" in entry else ""
        if "round" in entry:
            self.sent += sum(entry["bytes"].values())
            said = " ".join(f"{name} {scores['accuracy']:.2f}" for name, scores in entry["dev"].items())
            said += f", {self.sent / 1e6:.1f} MB sent"
        self.set_postfix_str(f"loss {entry['train_loss']:.3f}, dev accuracy {said}")


class Lines(tqdm):
    """A bar over the rounds that lines such as "round 2: loss" tell of; other lines about the run stand above it."""

    def __init__(self, rounds: int):
        """Prepare a bar of as many steps as there are rounds."""
        super().__init__(total=rounds, unit="round", desc="starting", dynamic_ncols=True, file=sys.stderr)

    def __call__(self, line: str) -> None:
        """Move on by one round, or show a command, a warning or an error."""
        if found := re.match(r"round (\d+): (.*)", line.strip()):
            self.update(int(found[1]) - self.n)
            self.set_description(f"round {found[1]}", refresh=False)
            self.set_postfix_str(found[2])
        elif line.startswith(("$ ", "the SuperNode")) or "WARN" in line or "Error" in line:
            self.write(line.strip(), file=sys.stderr)
