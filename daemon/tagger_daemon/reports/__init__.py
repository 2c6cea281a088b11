"""What a person reads afterwards: one audit line a photo, one page a day or a run."""
