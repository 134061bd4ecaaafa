"""Names of before, until callers follow."""

from __future__ import annotations

from typing import Any

from wae_jax.config import Config
from wae_jax.generation.model import Model

Sampler = Model


def make_sampler(config: Config, variables: Any) -> Model:
    """A model of these variables."""
    return Model(config, variables, 0, "")
