"""The model that ships, opened once."""

import pytest

import wae_jax


@pytest.fixture(scope="session")
def shipped():
    return wae_jax.load()
