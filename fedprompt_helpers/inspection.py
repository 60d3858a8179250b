"""What was read, summed up before anything trains: the command ``fedprompt check``."""

from collections import defaultdict

import pandas as pd

from .config import RunConfig
from .data.corpora import SPLITS
from .data.tables import fold
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
    seen: dict[tuple, dict[str, set]] = defaultdict(lambda: defaultdict(set))
    trained, tested = defaultdict(set), defaultdict(set)
    for language, splits in task.data.items():
        for split, rows in splits.items():
            pairs = [rows[name][:] for name in ("text", "text_pair") if name in rows.column_names]
            for label, *texts in zip(rows["label"][:], *pairs, strict=True):
                key = tuple(map(fold, texts))
                seen[key][language].add(label)
                (tested if split == "test" else trained)[key].add(language)
    common = [key for key, languages in seen.items() if len(languages) > 1]
    leaked = [key for key in common if any(trained[key] - {language} for language in tested[key])]
    odds = [key for key in common if len(set().union(*seen[key].values())) > 1]
    if not common:
        return []
    said = f"{len(common):,} texts stand in more than one language"
    said += f"; {len(leaked):,} of them are tested in one and trained on in another" if leaked else ""
    return [said + (f"; {len(odds):,} have different labels" if odds else "")]
