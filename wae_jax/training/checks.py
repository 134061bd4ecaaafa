"""Checks of a configuration against networks, data and jax, which the `config` package does not know."""

from __future__ import annotations

import jax

from wae_jax.config import Config
from wae_jax.data.dataset import Dataset
from wae_jax.errors import ConfigError
from wae_jax.models.networks import find_network
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS


def check_config(config: Config) -> None:
    """Raises ConfigError if there is no such network, or the refiner or the precision is impossible."""
    find_network(config.model.network, dropout_rate=config.model.dropout_rate)
    steps, pitches = config.refiner.strides
    if NUM_STEPS % steps or NUM_PITCHES % pitches:
        raise ConfigError(
            f"refiner.strides is {config.refiner.strides}; expected divisors of {NUM_STEPS} steps and of {NUM_PITCHES} "
            "pitches"
        )
    if config.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ConfigError(
            "dtype is 'float64', which JAX computes in float32 unless told otherwise; "
            "set the environment variable JAX_ENABLE_X64=1, or dtype to 'float32'"
        )


def check_splits(data: Dataset) -> None:
    """Raises ConfigError unless the data can be trained and validated on."""
    for name in ("train", "valid"):
        if name not in data.splits:
            raise ConfigError(f"{data.name} has no {name} split; build the data set with one")
