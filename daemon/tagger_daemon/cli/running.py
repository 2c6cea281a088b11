"""One run over folders."""

from __future__ import annotations

from tagger_daemon.cli.exits import Exit
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.settings import Loaded


def conduct(loaded: Loaded, *, show: bool | None, as_json: bool) -> Exit:  # noqa: ARG001
    """Stand for the run until it is there."""
    raise ConfigurationError("a run over folders is not there yet: use `tagger-daemon run --once`")
