"""The cache folder, and files that are whole or not there."""

import errno
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from .errors import FedPromptError


def cache_root() -> Path:
    """Return the folder of what can be made or fetched again: ``$FEDPROMPT_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("FEDPROMPT_CACHE") or platformdirs.user_cache_dir("fedprompt"))


@contextmanager
def whole(path: Path):
    """Give a temporary name beside `path`; what is written under it replaces `path` at the end, or nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        full = "free some space or " * (error.errno in (errno.ENOSPC, errno.EDQUOT))
        what = f"cannot write {path}: {error.strerror or error}"
        raise FedPromptError(f"{what}; {full}choose another folder (--output)") from error
    finally:
        with suppress(OSError):  # a name that could not be made cannot be removed either
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict | list) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 with line feeds."""
    with whole(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: str | Path, expected: str):
    """Read a JSON file, with or without a byte order mark, or raise FedPromptError saying what was `expected`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[-1]
        raise FedPromptError(f"cannot read {path}: {reason}; expected {expected}") from error
