"""Sentences and labels: what a task is, where its rows come from, and who holds them (chapters 1 and 4)."""
