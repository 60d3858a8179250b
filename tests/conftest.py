"""Settings for every test."""

import os

import fedprompt_helpers  # noqa: F401  before PyTorch, whose threads read a setting when they are loaded

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
