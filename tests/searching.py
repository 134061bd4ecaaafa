"""Searches for codes that are short enough for tests."""

import functools

import pytest

from wae_jax.generation.modes import accompaniment, code_search


def shorten_searches(patch: pytest.MonkeyPatch, *, num_starts: int = 2, num_steps: int = 25) -> None:
    """Takes fewer starts and steps, which is enough for music that the run's own decoder has made."""
    quick = functools.partial(code_search.search_codes, num_steps=num_steps)
    patch.setattr(code_search, "search_codes", quick)
    patch.setattr(accompaniment, "search_codes", quick)
    patch.setattr(code_search, "_STARTS_OF_INPUT", num_starts)
    patch.setattr(accompaniment, "_MIN_STARTS", 3 * num_starts)
    patch.setattr(accompaniment, "_STARTS_FOR_EACH", 2)
