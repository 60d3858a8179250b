"""Helpers for the book on multilingual federated prompt tuning for low-resource languages.

The package hides plumbing, never the idea: each chapter shows its idea in plain code first.
"""

import os

__version__ = "0.1.0"

# Flower, and Ray where it is used, read these when imported: no telemetry, no update checks, errors only.
for _name, _value in {
    "FLWR_LOG_LEVEL": "ERROR",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)

# PyTorch's threads wait for one another by counting; GNU OpenMP reads how far when it is loaded, with PyTorch. Its
# default, 300,000, makes training two to three times slower beside busy programs, and no faster without them:
# `python -m tests.benchmarks.busy_cores`.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
