"""Codes and phrases from a trained autoencoder, a few at a time, on one device."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wae_jax import objective, pianoroll
from wae_jax.models import Autoencoder
from wae_jax.train_state import make_autoencoder

_PHRASES_AT_A_TIME = 32


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A trained autoencoder as functions of NumPy arrays.

    Attributes:
      encode: bool [B, T, P, K] to codes [B, Z].
      decode: codes [B, Z] to probabilities float32 [B, T, P, K].
      draw: (seed, number of phrases) to codes drawn from the prior, [B, Z]; the first ones do not depend on
        the number.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[int, int], np.ndarray]


# Two models of one configuration are equal, so that these compile once a process; and the variables are arguments, for
# as constants of a program they would be compiled into it.
@functools.partial(jax.jit, static_argnums=0)
def _encode(model: Autoencoder, variables: Any, x: jax.Array) -> jax.Array:
    return jnp.asarray(model.apply(variables, x.astype(jnp.float32), method="encode"))


@functools.partial(jax.jit, static_argnums=0)
def _decode(model: Autoencoder, variables: Any, z: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(jnp.asarray(model.apply(variables, z, method="decode"))).astype(jnp.float32)


def make_sampler(config: ml_collections.ConfigDict, variables: Any) -> Sampler:
    """Binds a model's variables.

    Args:
      config: the run's configuration.
      variables: `TrainState.evaluation_variables()`.
    """
    model = make_autoencoder(config)
    variables = jax.device_put(variables)

    def draw(seed: int, num: int) -> np.ndarray:
        return np.asarray(
            objective.sample_prior(
                _keys(seed, num), latent_dim=config.model.z_dim, prior_variance=config.prior_variance
            )
        )

    return Sampler(
        encode=lambda rolls: _in_parts(functools.partial(_encode, model, variables), rolls),
        decode=lambda z: _in_parts(functools.partial(_decode, model, variables), z),
        draw=draw,
    )


def _keys(seed: int, num: int) -> jax.Array:
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


def binarize(probabilities: np.ndarray, *, method: str, threshold: float, seed: int) -> np.ndarray:
    """Decides which cells sound.

    Args:
      probabilities: [B, T, P, K].
      method: "hard", above the threshold, or "bernoulli", each cell at random with its probability.
      threshold: for "hard", between 0 and 1.
      seed: for "bernoulli"; each phrase has a key of its own.

    Returns:
      bool [B, T, P, K].

    Raises:
      ValueError: if there is no such method.
    """
    if method == "hard":
        return np.asarray(pianoroll.binarize_hard(jnp.asarray(probabilities), threshold))
    if method != "bernoulli":
        raise ValueError(f"no way to binarise is called {method!r}; there are 'hard' and 'bernoulli'")
    keys = _keys(seed, len(probabilities))
    return np.stack(
        [np.asarray(pianoroll.binarize_bernoulli(key, p)) for key, p in zip(keys, probabilities, strict=True)]
    )
