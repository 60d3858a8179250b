"""Widgets of one chapter each: chapter 4 plays rounds, chapter 9 reckons what a federation sends."""

from .bill_calculator import bill_calculator
from .round_player import round_player

__all__ = ["bill_calculator", "round_player"]
