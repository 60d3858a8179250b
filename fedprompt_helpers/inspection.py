"""What was read, summed up before anything trains: the command ``fedprompt check``."""

from collections import defaultdict

import pandas as pd

from .config import RunConfig
from .data.corpora import SPLITS
from .data.tables import text_keys
from .data.tasks import Task, load


def look(config: RunConfig) -> str:
    """Sum up the data of a configuration, drawn as it would be: sizes, labels by language, and what is odd.

    Raises
    ------
    FedPromptError
        If the data cannot be read, as for a run.
    """
    task, sizes, labels = load(config), {}, {}
    from .clients import unread  # with PyTorch, which a mistake in the data need not wait for

    for language, splits in task.data.items():
        unknown, cut = unread(config, splits["train"] if len(splits["train"]) else splits["test"])
        sizes[language] = {split: f"{len(splits[split]):,}" for split in SPLITS}
        sizes[language] |= {"unknown tokens": f"{unknown:.1%}", "cut texts": f"{cut:.1%}"}
        labelled = splits["train"]["label"][:] + splits["dev"]["label"][:]
        labels[language] = [labelled.count(i) for i in range(len(task.labels))]
    first = pd.DataFrame.from_dict(sizes, orient="index").rename_axis(columns="language")
    second = pd.DataFrame(labels, index=list(task.labels)).rename_axis(columns="train and dev")
    notes = (f"- {note}" for note in [*task.notes, *shared(task)])
    return "\n".join([first.to_string(), "", second.to_string(), "", *notes])


def shared(task: Task) -> list[str]:
    """Say which texts several languages have, where one tests on what another trains on, and where labels differ."""
    seen: dict[tuple, set[tuple[str, bool, int]]] = defaultdict(set)  # text: language, tested, label
    for language, splits in task.data.items():
        for split, rows in splits.items():
            keys = text_keys({name: rows[name][:] for name in rows.column_names})
            for label, key in zip(rows["label"][:], keys, strict=True):
                seen[key].add((language, split == "test", label))
    common = [found for found in seen.values() if len({language for language, *_ in found}) > 1]
    leaked = sum(any(a[1] and not b[1] and a[0] != b[0] for a in found for b in found) for found in common)
    odd = sum(len({label for *_, label in found}) > 1 for found in common)
    said = f"{len(common):,} texts stand in more than one language"
    said += f"; {leaked:,} of them are tested in one and trained on in another" * (leaked > 0)
    return [said + f"; {odd:,} have different labels" * (odd > 0)] if common else []
