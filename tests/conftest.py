"""What holds for all tests together."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import pytest

from support.audit_lines import faults_below

# A job in the background of a script has Ctrl-C ignored, and so would have all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _every_audit_line_fits_its_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look, when all is over, at every audit that any test left, also by processes that it started."""
    yield
    assert faults_below(tmp_path_factory.getbasetemp()) == []
