"""Run records: one JSON file a run, read without PyTorch."""

from itertools import accumulate
from pathlib import Path

from .config import RunConfig
from .errors import FedPromptError
from .files import read_json

FORMAT = 2
"""Version of the run record; raise it when its fields change. Format 1 had one digest for the data of all languages."""


def load_record(path: str | Path) -> dict:
    """Read a run record.

    Raises
    ------
    FedPromptError
        If the file is missing, is not a record, or was written by a newer version.
    """
    if not Path(path).exists():
        raise FedPromptError(
            f"no run record at {path}; name a JSON file that `fedprompt run` wrote, for example in runs/"
        )
    expected = "a run record, a JSON file that `fedprompt run` wrote"
    record = read_json(path, expected)
    try:
        known = record["format"] <= FORMAT and record["config"] and record["test"]
    except (KeyError, TypeError) as error:
        raise FedPromptError(f"{path} is not a run record; expected {expected}") from error
    if not known:
        raise FedPromptError(f"{path} has format {record['format']}, newer than {FORMAT}; update this package")
    return record


def find_record(folder: str | Path, config: RunConfig) -> Path | None:
    """Return the record of a configuration in a folder, or None.

    Raises
    ------
    FedPromptError
        If the file of that name holds another configuration; the message says what differs.
    """
    path = Path(folder) / f"{config.name()}.json"
    if not path.exists():
        return None
    found, asked = RunConfig.from_dict(load_record(path)["config"]).to_dict(), config.to_dict()
    if differs := [name for name in asked if found[name] != asked[name]]:
        raise FedPromptError(
            f"{path} is the record of another configuration: {differs[0]} is {found[differs[0]]!r} there, "
            f"{asked[differs[0]]!r} was asked for; remove or rename the file, or choose another folder (--output)"
        )
    return path


def dev_accuracy(record: dict) -> float:
    """Mean dev accuracy over languages at the epoch or round that early stopping kept."""
    if "rounds" in record:
        best = record["rounds"][record["best_round"] - 1]
        kept = [scores["accuracy"] for scores in best["dev"].values()]
    else:
        best = [min(epochs, key=lambda entry: entry["dev_loss"]) for epochs in record["epochs"].values()]
        kept = [entry["dev_accuracy"] for entry in best]
    return sum(kept) / len(kept)


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
    """Give what a federation had sent after each round, both ways, with the class sums of a prototype start."""
    before = sum(record["start"]["bytes"].values()) if "start" in record else 0
    return list(accumulate((sum(entry["bytes"].values()) for entry in record["rounds"]), initial=before))[1:]


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
        total, update = bytes_so_far(record)[-1], update_bytes(record)
        lines += [
            f"in the message: {record['message_parameters']:,} parameters, {update:,.0f} bytes an update, "
            f"{100 * update / count['full_model_bytes']:.2f}% of the full model's {count['full_model_bytes']:,}",
            f"best round {record['best_round']} of {len(record['rounds'])}; "
            f"{total / 1e6:.1f} MB sent in all, both ways",
        ]
    digest = record["backbone_digest"]
    same = "yes" if digest["before"] == digest["after"] else "NO"
    same = "no, full fine-tuning changes it" if config["method"] == "full" else same
    lines += [f"backbone bit-identical before and after: {same}", f"{record['seconds']:.0f} s"]
    return "\n".join(lines)
