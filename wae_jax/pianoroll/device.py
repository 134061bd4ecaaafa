"""Piano-rolls on devices: what jitted functions do with the representation of `pianoroll.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Key, Num, Shaped, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.pianoroll import NUM_PITCHES, PHRASE_SHAPE, TRACKS


def unpack_on_device(
    packed: UInt8[AnyArray, "B bytes=10080"], dtype: jax.typing.DTypeLike = jnp.float32
) -> Num[Array, "B T=192 P=84 K=5"]:
    """Undoes `pack` inside a jitted function: to 0 and 1 of `dtype`."""
    bits = (jnp.asarray(packed)[..., None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)) & 1
    return bits.reshape(packed.shape[0], *PHRASE_SHAPE).astype(dtype)


def binarize_hard(probabilities: Float[AnyArray, "*shape"], threshold: float = 0.5) -> Bool[AnyArray, "*shape"]:
    """Switches on the cells whose probability is above the threshold."""
    return probabilities > threshold


def binarize_bernoulli(key: Key[Array, ""], probabilities: Float[AnyArray, "*shape"]) -> Bool[Array, "*shape"]:
    """Switches each cell on with its own probability, all cells independently."""
    return jax.random.bernoulli(key, probabilities)


def transpose_pitched(
    rolls: Shaped[Array, "B T=192 P=84 K=5"], semitones: Integer[Array, " B"]
) -> Shaped[Array, "B T=192 P=84 K=5"]:
    """Moves the non-drum tracks of each phrase up by a number of semitones of its own.

    Notes that would leave the 84 pitches are dropped.

    Args:
      rolls: of any type.
      semitones: each between -84 and 84; negative is down.

    Returns:
      An array of the type of `rolls`.
    """

    def move(roll: Shaped[Array, "T P K"], up: Integer[Array, ""]) -> Shaped[Array, "T P K"]:
        padded = jnp.pad(roll, ((0, 0), (NUM_PITCHES, NUM_PITCHES), (0, 0)))
        return jax.lax.dynamic_slice_in_dim(padded, NUM_PITCHES - up, NUM_PITCHES, axis=1)

    is_drum = jnp.array([track.is_drum for track in TRACKS])
    return jnp.where(is_drum, rolls, jax.vmap(move)(rolls, semitones))
