"""Folders of voice commands, one for each language, as three communities would hold them."""

import csv
from pathlib import Path

import fedprompt_helpers as fp

INTENTS = Path(fp.__file__).parent / "data" / "intents"


def write_folders(folder: Path, languages: tuple[str, ...]) -> Path:
    """Write the voice commands of each language into a folder of its own."""
    for language in languages:
        (folder / language).mkdir(parents=True, exist_ok=True)
        for split in ("train", "dev", "test"):
            with (INTENTS / language / f"{split}.tsv").open(encoding="utf-8") as stream:
                rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
                text = "\n".join("\t".join(row[:2]) for row in rows) + "\n"
            (folder / language / f"{split}.tsv").write_text(text, "utf-8")
    return folder
