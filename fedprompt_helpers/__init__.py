"""Helpers for the book on multilingual federated prompt tuning for low-resource languages.

The package hides plumbing, never the idea: each chapter shows its idea in plain code first. ``import fedprompt_helpers
as fp`` gives the names below; each is loaded when it is first used, so that a small question does not wait for PyTorch.
"""

import importlib
import os

__version__ = "0.2.0"

for _name, _value in {
    # Flower, and Ray where it is used, read these when imported: no telemetry, no update checks.
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # PyTorch's threads wait for one another by counting; GNU OpenMP reads how far when it is loaded, with PyTorch. Its
    # default, 300,000, makes training two to three times slower beside busy programs, and no faster without them:
    # `python -m tests.benchmarks.busy_cores`.
    "GOMP_SPINCOUNT": "1000",
}.items():
    os.environ.setdefault(_name, _value)

_HOME = {
    "errors": ("FedPromptError",),
    "config": ("RunConfig",),
    "data.tasks": ("load_task", "majority_accuracy"),
    "data.partition": ("partition", "counts"),
    "data.distance": ("language_distance",),
    "model.backbones": ("load_backbone",),
    "model.methods": ("prepare",),
    "model.training": ("encode", "train", "evaluate", "get_arrays", "set_arrays"),
    "model.counting": ("count_parameters", "backbone_digest"),
    "federation.messages": ("message_bytes",),
    "runs": ("simulate", "run"),
    "adapters": ("load_adapter", "classify"),
    "records": ("load_record",),
    "plots": ("plot_rounds", "plot_partition"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = [*_MODULE]


def __getattr__(name: str):
    """Load a public name from the module that has it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    globals()[name] = getattr(importlib.import_module(f".{_MODULE[name]}", __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    """Name what can be loaded."""
    return sorted(__all__)
