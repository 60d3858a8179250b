"""The widgets of the chapters: each function gives one that is live in a notebook, and stored on a page, offline.

Chapter 1 cuts commands into tokens, chapter 2 classifies and tries learning rates, chapter 4 deals examples, chapter 5
plays rounds and trains a federation in the page, chapter 11 reckons what is sent, chapter 17 says whether to join.
"""

from .bill_calculator import bill_calculator
from .classifier import classifier
from .decision_page import decision_page
from .live_federation import live_federation
from .partition_explorer import partition_explorer
from .rate_explorer import rate_explorer
from .round_player import round_player
from .tokenizer_explorer import tokenizer_explorer

__all__ = [
    "bill_calculator",
    "classifier",
    "decision_page",
    "live_federation",
    "partition_explorer",
    "rate_explorer",
    "round_player",
    "tokenizer_explorer",
]


def __getattr__(name: str):
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; widgets: {', '.join(__all__)}")
