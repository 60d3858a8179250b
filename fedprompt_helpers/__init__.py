"""Helpers for the book on multilingual federated prompt tuning for low-resource languages.

The package hides plumbing, never the idea: each chapter shows its idea in plain code first.
"""

__version__ = "0.1.0"
