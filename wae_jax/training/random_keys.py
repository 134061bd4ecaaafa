"""Random keys of phrases and of steps, which do not depend on the number of devices."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Integer, Key

from wae_jax.array_types import AnyArray


class ExampleKeys(NamedTuple):
    """One random key a phrase for each use."""

    prior: Key[Array, " b"]
    encoder: Key[Array, " b"]
    decoder: Key[Array, " b"]
    augmentation: Key[Array, " b"]
    noise: Key[Array, " b"]
    neurons: Key[Array, " b"]


def example_keys(seed: int, step: Int[Array, ""], position: Integer[AnyArray, " b"]) -> ExampleKeys:
    """Keys that depend only on the seed, the step and the index of a phrase in the global batch."""
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    example = jax.vmap(lambda i: jax.random.fold_in(step_key, i))(position)
    prior, encoder, decoder, augmentation = jax.vmap(lambda key: jax.random.split(key, 4))(example).T
    # Folded in rather than split off: a split into six would change the first four keys, and with them all runs.
    noise, neurons = (jax.vmap(lambda key, use=use: jax.random.fold_in(key, use))(example) for use in (4, 5))
    return ExampleKeys(prior, encoder, decoder, augmentation, noise, neurons)


def shared_key(seed: int, step: Int[Array, ""]) -> Key[Array, ""]:
    """The key of a step for randomness that all phrases share; different from every phrase's keys."""
    no_position = np.uint32(2**32 - 1)
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), no_position)
