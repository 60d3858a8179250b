"""The cache folder, and files that are whole or not there."""

import json
import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """Return the folder of what can be made or fetched again: ``$FEDPROMPT_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("FEDPROMPT_CACHE") or platformdirs.user_cache_dir("fedprompt"))


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file whole or not at all: to a temporary name, then renamed."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 with line feeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
