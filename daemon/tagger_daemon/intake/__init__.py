"""Finds photos: which files are ours, and when they have stopped changing."""
