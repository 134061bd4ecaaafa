"""Codes and phrases from a trained autoencoder, a few at a time, on one device."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key, Shaped

from wae_jax.config import Config
from wae_jax.generation.latent_mixture import Mixture, sample_mixture
from wae_jax.models.autoencoder import Autoencoder, make_autoencoder
from wae_jax.objective import terms
from wae_jax.pianoroll import Codes, Probabilities, Rolls

_PHRASES_AT_A_TIME = 32


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A trained autoencoder as functions of NumPy arrays.

    Attributes:
      encode: phrases to codes.
      decode: codes to the probabilities of cells, as float32.
      sample_codes: (seed, number of phrases) to codes sampled from the prior, or from a learned one; the first ones do
        not depend on the number.
    """

    encode: Callable[[Rolls], Codes]
    decode: Callable[[Codes], Probabilities]
    sample_codes: Callable[[int, int], Codes]


# Two models of one configuration are equal, so that these compile once a process; and the variables are arguments, for
# as constants of a program they would be compiled into it.
@functools.partial(jax.jit, static_argnums=0)
def _encode(model: Autoencoder, variables: Any, x: Shaped[Array, "B T P K"]) -> Float[Array, "B Z"]:
    return jnp.asarray(model.apply(variables, x.astype(jnp.float32), method="encode"))


@functools.partial(jax.jit, static_argnums=0)
def _decode(model: Autoencoder, variables: Any, z: Float[Array, "B Z"]) -> Float32[Array, "B T P K"]:
    return jax.nn.sigmoid(jnp.asarray(model.apply(variables, z, method="decode"))).astype(jnp.float32)


def make_sampler(config: Config, variables: Any) -> Sampler:
    """Binds a model's variables.

    Args:
      config: the run's configuration.
      variables: `TrainState.evaluation_variables()`.
    """
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype)
    variables = jax.device_put(variables)

    def encode(rolls: Rolls) -> Codes:
        return _in_parts(functools.partial(_encode, model, variables), rolls)

    def decode(z: Codes) -> Probabilities:
        return _in_parts(functools.partial(_decode, model, variables), z)

    def sample_codes(seed: int, num: int) -> Codes:
        return np.asarray(
            terms.sample_prior(
                _keys(seed, num), latent_dim=config.model.z_dim, prior_variance=config.objective.prior_variance
            )
        )

    return Sampler(encode, decode, sample_codes)


def with_mixture(sampler: Sampler, mixture: Mixture) -> Sampler:
    """The sampler with draws from a mixture in place of the prior's."""
    return dataclasses.replace(sampler, sample_codes=lambda seed, num: sample_mixture(mixture, _keys(seed, num)))


def _keys(seed: int, num: int) -> Key[Array, " {num}"]:
    """One key a phrase; those of the first phrases do not depend on how many there are."""
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(num))


def _in_parts(function: Callable[[Any], jax.Array], array: np.ndarray) -> np.ndarray:
    """Applies a jitted function of phrases to parts of one size each, so that it compiles once."""

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, len(array), _PHRASES_AT_A_TIME):
            part = array[start : start + _PHRASES_AT_A_TIME]
            missing = [(0, _PHRASES_AT_A_TIME - len(part))] + [(0, 0)] * (array.ndim - 1)
            yield np.asarray(function(np.pad(part, missing)))[: len(part)]

    return np.concatenate(list(parts()))
