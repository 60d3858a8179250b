"""Functions that each give an interactive ``IPython.display.HTML``: for a notebook and a stored page, offline."""

from .partition_explorer import partition_explorer
from .tokenizer_explorer import tokenizer_explorer

__all__ = ["partition_explorer", "tokenizer_explorer"]


def __getattr__(name: str):
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; widgets: {', '.join(__all__)}")
