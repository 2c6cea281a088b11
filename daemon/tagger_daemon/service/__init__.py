"""The daemon: who runs when, signals, readiness, shutdown."""
