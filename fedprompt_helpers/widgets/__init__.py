"""Interactive pictures that work in a live notebook and in a stored page: no kernel, no network.

Each function in ``__all__`` gives an ``IPython.display.HTML``, raises ``FedPromptError`` for what it cannot show, and
is loaded when it is first used.
"""

import importlib
import sys
import types

__all__ = ["bill_calculator", "partition_explorer", "results_explorer", "round_player", "tokenizer_explorer"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; widgets: {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{name}", __name__), name)


class _Widgets(types.ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Python would put an imported module in the place of the function of the same name.
        if not (name in __all__ and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Widgets
