"""What a run says while it goes, and a run record as a text table."""

import sys
from itertools import accumulate

from tqdm import tqdm


class Progress:
    """A progress bar that says round, loss, accuracy per language and bytes sent."""

    def __init__(self, config):
        """Prepare a bar of as many steps as the run has rounds, or epochs."""
        steps = config.rounds
        if config.setting != "federated":
            jobs = len(config.languages) if config.setting == "local" else 1
            steps = config.epochs * jobs
        unit = "round" if config.setting == "federated" else "epoch"
        self.bar = tqdm(total=steps, unit=unit, desc="starting", dynamic_ncols=True, file=sys.stderr)
        self.sent = 0

    def __enter__(self):
        """Show the bar."""
        return self

    def __exit__(self, *_):
        """Close the bar; wipe it if nothing was done, so that an error stands alone."""
        self.bar.leave = self.bar.n > 0
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

    def on_run(self, config, finished: bool) -> None:
        """Name the run that begins, or move on by one."""
        self.current = f"{config.setting} {config.method} seed {config.seed}"
        self.bar.set_postfix_str(self.current, refresh=not finished)
        if finished:
            self.bar.update()

    def on_progress(self, entry: dict) -> None:
        """Say how far the current run is."""
        step = f"round {entry['round']}" if "round" in entry else f"{entry['job']} epoch {entry['epoch']}"
        self.bar.set_postfix_str(f"{self.current}: {step}, loss {entry['train_loss']:.2f}")


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
        total = bytes_so_far(record)[-1]
        update = update_bytes(record)
        lines += [
            f"in the message: {record['message_parameters']:,} parameters, {update:,.0f} bytes an update, "
            f"{100 * update / count['full_model_bytes']:.2f}% of the full model's {count['full_model_bytes']:,}",
            f"best round {record['best_round']} of {len(record['rounds'])}; "
            f"{total / 1e6:.1f} MB sent in all, both ways",
        ]
    lines.append(f"backbone bit-identical before and after: {_identical(record)}")
    lines.append(f"{record['seconds']:.0f} s")
    return "\n".join(lines)


def update_bytes(record: dict) -> float:
    """Give the mean size of an update, in bytes as serialized: what one client sent in one round."""
    updates = []
    for entry in record["rounds"]:
        failed = {failure["client"] for failure in entry["failed"]}
        # Older records have the sum over all clients alone.
        even = [entry["bytes"]["train_up"] / len(record["clients"])] * len(record["clients"])
        sizes = entry.get("client_bytes", {"train_up": even})["train_up"]
        updates += [size for client, size in enumerate(sizes) if client not in failed]
    return sum(updates) / len(updates)


def bytes_so_far(record: dict) -> list[int]:
    """Give what a federation had sent after each round, both ways, with the class sums of a prototype start.

    Parameters
    ----------
    record : dict
        The run record of a federation.

    Returns
    -------
    list of int
        Bytes as serialized, one sum a round.
    """
    before = sum(record["start"]["bytes"].values()) if "start" in record else 0
    return list(accumulate((sum(entry["bytes"].values()) for entry in record["rounds"]), initial=before))[1:]


def _identical(record: dict) -> str:
    if record["config"]["method"] == "full":
        return "no, full fine-tuning changes it"
    digest = record["backbone_digest"]
    return "yes" if digest["before"] == digest["after"] else "NO"
