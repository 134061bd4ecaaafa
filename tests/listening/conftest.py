"""A browser for the tests of pages."""

from collections.abc import Iterator

import pytest

from tests.listening.browsing import launched


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A real browser."""
    with launched() as browser:
        yield browser
