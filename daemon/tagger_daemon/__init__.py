"""tagger-daemon: titles, keywords and descriptions for photos, from your own vision models."""

__version__ = "0.1.0"
