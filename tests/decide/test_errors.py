"""Every error names one fate, and the tree in the docstring is the tree in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tagger_daemon import errors
from tagger_daemon.errors import Fate, TaggerError


def tree(root: type[TaggerError]) -> Iterator[type[TaggerError]]:
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


@pytest.mark.parametrize("error", list(tree(TaggerError)), ids=lambda error: error.__name__)
def test_every_error_has_exactly_one_fate_and_the_drawing_says_which(error: type[TaggerError]) -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +([A-Z]+) ", errors.__doc__ or ""))
    assert Fate(error.fate).name == drawn[error.__name__]


def test_the_drawing_shows_no_error_that_is_not_there() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn == {error.__name__ for error in tree(TaggerError)}
