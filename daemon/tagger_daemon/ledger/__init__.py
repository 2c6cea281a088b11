"""The memory: what became of every photo, and what we wrote where."""
