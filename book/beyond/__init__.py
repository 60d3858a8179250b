"""What chapter 14 measures beside its sweeps: a table of all scores, and a peer for the helper's loop."""
