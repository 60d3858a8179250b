"""Run records: one JSON file a run, read without PyTorch."""

from itertools import accumulate
from pathlib import Path

from .config import RunConfig
from .errors import FedPromptError
from .files import read_json

FORMAT = 2
"""Version of the run record; raise it when its fields change. Format 1 had one digest for the data of all languages."""


def load_record(path: str | Path) -> dict:
    """Read a run record; a file that is missing, no record, or of a newer version is a FedPromptError."""
    expected = "a run record, a JSON file that `fedprompt run` wrote"
    if not Path(path).exists():
        raise FedPromptError(f"no run record at {path}; name a JSON file that `fedprompt run` wrote, as in runs/")
    record = read_json(path, expected)
    try:
        known = record["format"] <= FORMAT and record["config"] and record["test"]
    except (KeyError, TypeError) as error:
        raise FedPromptError(f"{path} is not a run record; expected {expected}") from error
    if not known:
        raise FedPromptError(f"{path} has format {record['format']}, newer than {FORMAT}; update this package")
    return record


def find_record(folder: str | Path, config: RunConfig) -> Path | None:
    """Return the record of a configuration in a folder, or None; one of another configuration is a FedPromptError."""
    path = Path(folder) / f"{config.name()}.json"
    if not path.exists():
        return None
    found, asked = RunConfig.from_dict(load_record(path)["config"]).to_dict(), config.to_dict()
    if differs := [name for name in asked if found[name] != asked[name]]:
        what = f"{differs[0]} is {found[differs[0]]!r} there, {asked[differs[0]]!r} was asked for"
        next_step = "remove or rename the file, or choose another folder (--output)"
        raise FedPromptError(f"{path} is the record of another configuration: {what}; {next_step}")
    return path


def update_bytes(record: dict) -> float:
    """Give the mean size of an update, in bytes as serialized: what one client sent in one round."""
    updates, clients = [], len(record["clients"])
    for entry in record["rounds"]:
        failed = {failure["client"] for failure in entry["failed"]}
        # Older records have the sum over all clients alone.
        sizes = entry.get("client_bytes", {"train_up": [entry["bytes"]["train_up"] / clients] * clients})["train_up"]
        updates += [size for client, size in enumerate(sizes) if client not in failed]
    return sum(updates) / max(1, len(updates))


def bytes_so_far(record: dict) -> list[int]:
    """Give what a federation had sent after each round, both ways, with the class sums of a prototype start."""
    before = sum(record["start"]["bytes"].values()) if "start" in record else 0
    sums = list(accumulate((sum(entry["bytes"].values()) for entry in record["rounds"]), initial=before))
    return sums[1:] or sums


def summary(record: dict) -> str:
    """Write a run record as a plain text table."""
    config, count, digest = record["config"], record["parameters"], record["backbone_digest"]
    lines = [f"{record['name']}: {config['method']}, {config['setting']}, {config['task']}, seed {config['seed']}", ""]
    lines.append(f"{'language':<10}{'train':>7}{'test':>7}{'majority':>10}{'accuracy':>10}{'macro-F1':>10}")
    for name, scores in [*record["test"].items(), ("mean", record["mean_test"])]:
        sizes = record["examples"].get(name, {"train": "", "test": ""})
        row = f"{name:<10}{sizes['train']:>7}{sizes['test']:>7}"
        row += f"{record['majority'][name]:>10.3f}" if name in record["majority"] else " " * 10
        lines.append(f"{row}{scores['accuracy']:>10.3f}{scores['macro_f1']:>10.3f}")
    trained, total = f"{count['trainable']:,}", f"{count['total']:,}"
    lines += ["", f"trained {trained} of {total} parameters ({count['prompt']:,} prompt, {count['head']:,} head)"]
    if "rounds" in record:
        sent, update, full = bytes_so_far(record)[-1], update_bytes(record), count["full_model_bytes"]
        lines += [
            f"in the message: {record['message_parameters']:,} parameters, {update:,.0f} bytes an update, "
            f"{100 * update / full:.2f}% of the full model's {full:,}",
            f"best round {record['best_round']} of {len(record['rounds'])}; {sent / 1e6:.1f} MB sent in all, both ways",
        ]
    same = "yes" if digest["before"] == digest["after"] else "NO"
    same = "no, full fine-tuning changes it" if config["method"] == "full" else same
    return "\n".join([*lines, f"backbone bit-identical before and after: {same}", f"{record['seconds']:.0f} s"])
