"""The Jensen-Shannon divergence between codes and samples, by discriminators that have seen neither.

The discriminator of WAE-GAN is one of two players, and the other follows it; its estimate says little about codes that
training has not seen. Here a new one is trained on some of the codes, stopped by others, and measured on the rest.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int64

from wae_jax.models.discriminator import Discriminator
from wae_jax.objective.adversarial import non_saturating_penalty

_DISCRIMINATOR = Discriminator((128, 128))
_TX = optax.adam(1e-3)
_PARTS = 4
_ROUNDS, _STEPS_PER_ROUND, _BATCH = 20, 25, 128

Codes = Float[np.ndarray, "n Z"]
_Carry = tuple[optax.Params, optax.OptState]


def fresh_jensen_shannon(
    codes: Codes, samples: Float[np.ndarray, "m Z"], *, songs: Int64[np.ndarray, " n"] | None, seed: int
) -> float:
    """Estimates the Jensen-Shannon divergence of the distributions of codes and of samples, in nats.

    The codes are divided into four parts by song, or in order where songs are unknown; the samples likewise. Four times
    a discriminator is trained on two of them, for as long as its estimate on the third grows, and measured on the
    fourth.

    Args:
      codes: of phrases that the autoencoder was not trained on, at least 4.
      samples: of the distribution they are compared with, at least as many.
      songs: the song of each code.
      seed: of the discriminators and their batches.

    Returns:
      The mean of the four measurements: 0 where codes cannot be told from samples (or a little less, by chance), at
      most log 2; NaN where there are too few songs to divide. Few codes make it too small, since they teach a
      discriminator little.
    """
    groups = np.arange(len(codes)) if songs is None else np.unique(songs, return_inverse=True)[1]
    scale = np.maximum(samples.std(axis=0), np.finfo(np.float32).eps)
    of_codes = _parts(codes / scale, groups * _PARTS // (groups.max() + 1))
    of_samples = _parts(samples / scale, np.arange(len(samples)) * _PARTS // len(samples))
    if not (len(of_codes[0]) and len(of_samples[0])):
        return math.nan
    found = []
    for k in range(_PARTS):
        test, stop, *train = ([each[(k + j) % _PARTS] for each in (of_codes, of_samples)] for j in range(_PARTS))
        joined = [np.concatenate(parts) for parts in zip(*train, strict=True)]
        estimates = _train(jax.random.key(seed * _PARTS + k), joined, stop, test)
        found.append(estimates[estimates[:, 0].argmax(), 1])
    return float(np.mean(found))


def _parts(points: Codes, part: Int64[np.ndarray, " n"]) -> list[Float[np.ndarray, "size Z"]]:
    """The points of each part; of one size, so that all discriminators are one program."""
    size = np.bincount(part, minlength=_PARTS).min()
    return [points[part == k][:size].astype(np.float32) for k in range(_PARTS)]


@jax.jit
def _train(key: Array, train: list[Array], stop: list[Array], test: list[Array]) -> Float[Array, "rounds=20 2"]:
    """The estimates after each round of steps, on `stop` and on `test`; each is codes and samples."""
    init_key, key = jax.random.split(key)
    params = _DISCRIMINATOR.init(init_key, train[0][:1])

    def loss(params: optax.Params, codes: Array, samples: Array) -> Array:
        # `adversarial.discriminator_loss` for sets of two sizes.
        of_codes, of_samples = (jnp.asarray(_DISCRIMINATOR.apply(params, points)) for points in (codes, samples))
        return jnp.mean(non_saturating_penalty(-of_codes)) + jnp.mean(non_saturating_penalty(of_samples))

    def step(carry: _Carry, key: Array) -> tuple[_Carry, None]:
        params, opt_state = carry
        batch = [
            points[jax.random.randint(part_key, (_BATCH,), 0, len(points))]
            for part_key, points in zip(jax.random.split(key), train, strict=True)
        ]
        updates, opt_state = _TX.update(jax.grad(loss)(params, *batch), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    def one_round(carry: _Carry, key: Array) -> tuple[_Carry, Array]:
        carry, _ = jax.lax.scan(step, carry, jax.random.split(key, _STEPS_PER_ROUND))
        return carry, jnp.log(2.0) - 0.5 * jnp.stack([loss(carry[0], *part) for part in (stop, test)])

    return jax.lax.scan(one_round, (params, _TX.init(params)), jax.random.split(key, _ROUNDS))[1]
