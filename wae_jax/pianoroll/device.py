"""Piano-rolls on devices: unpacking and transposition inside jitted functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Num, Shaped, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.pianoroll.layout import NUM_PITCHES, PHRASE_SHAPE, TRACKS


def unpack_on_device(
    packed: UInt8[AnyArray, "B bytes=10080"], dtype: jax.typing.DTypeLike = jnp.float32
) -> Num[Array, "B T=192 P=84 K=5"]:
    """Phrases as 0 and 1 of `dtype` from packed ones; the inverse of `pack`."""
    bits = (jnp.asarray(packed)[..., None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)) & 1
    return bits.reshape(packed.shape[0], *PHRASE_SHAPE).astype(dtype)


def transpose_pitched(
    rolls: Shaped[Array, "B T=192 P=84 K=5"], semitones: Integer[Array, " B"]
) -> Shaped[Array, "B T=192 P=84 K=5"]:
    """Phrases whose non-drum tracks are moved by a number of semitones, one a phrase; notes beyond the range are lost.

    Args:
      rolls: of any type.
      semitones: each between -84 and 84; positive is up.
    """

    def move(roll: Shaped[Array, "T P K"], up: Integer[Array, ""]) -> Shaped[Array, "T P K"]:
        padded = jnp.pad(roll, ((0, 0), (NUM_PITCHES, NUM_PITCHES), (0, 0)))
        return jax.lax.dynamic_slice_in_dim(padded, NUM_PITCHES - up, NUM_PITCHES, axis=1)

    is_drum = jnp.array([track.is_drum for track in TRACKS])
    return jnp.where(is_drum, rolls, jax.vmap(move)(rolls, semitones))
