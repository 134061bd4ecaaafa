"""Notes as two planes beside each other: where they begin, and where they go on.

A roll says of a cell that it sounds; whether a note begins there is left to the cell before it. In this project's rolls
a step of silence lies between touching notes of one pitch, so that both planes follow from the roll: an onset is a cell
that sounds after a silent one, or at a phrase's first step; a sustain is a cell that sounds after a sounding one. As in
the transcription of Hawthorne et al. (arXiv 1710.11153), a decoder may be asked for both.

There they are independent; here a cell is silent, or an onset, or a sustain, and never two of these. So a decoder's two
logits a cell, a and b, are those of a softmax in which silence has the logit 0:

    p(onset) = e^a / (1 + e^a + e^b),    p(sustain) = e^b / (1 + e^a + e^b)

The cell sounds with the sum of the two, whose logit is log(e^a + e^b): whoever asks for cells gets logits as those of
any decoder, and never hears of planes.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from wae_jax.array_types import AnyArray

CELLS = "cells"
ONSETS_AND_SUSTAINS = "onsets_and_sustains"
# What a decoder's output may be, and its channels a track.
OUTPUT_PLANES: Mapping[str, int] = {CELLS: 1, ONSETS_AND_SUSTAINS: 2}

Cells = Num[AnyArray, "B T P K"]
CellLogits = Float[AnyArray, "B T P K"]
# Onsets, then sustains.
PlaneLogits = Float[AnyArray, "B T P K planes=2"]
# Of a decoder: one or the other.
Outputs = CellLogits | PlaneLogits


def has_planes(outputs: Outputs) -> bool:
    """Whether outputs are logits of planes; else they are those of cells."""
    return outputs.ndim == 5


def planes_of(x: Cells) -> Num[Array, "B T P K planes=2"]:
    """Onsets and sustains of phrases.

    Args:
      x: 0 and 1.
    """
    x = jnp.asarray(x)
    before = jnp.concatenate([jnp.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    return jnp.stack([x * (1 - before), x * before], axis=-1)


def plane_probabilities(logits: PlaneLogits) -> Float[Array, "B T P K planes=2"]:
    """The probabilities that a note begins in a cell, and that one goes on there."""
    return jax.nn.sigmoid(_against_the_rest(logits))


def cell_logits(outputs: Outputs) -> Float[Array, "B T P K"]:
    """The logits of cells; of planes, those of the probability that a cell is on in either."""
    outputs = jnp.asarray(outputs)
    return jnp.logaddexp(outputs[..., 0], outputs[..., 1]) if has_planes(outputs) else outputs


def logits_of_kind(x: Cells, logits: PlaneLogits) -> Float[Array, "B T P K"]:
    """The logit of each cell to be on as phrases have it: as an onset where it is one, as a sustain where it is one.

    Where phrases are silent it is the logit to be on at all. A cost of cells that takes logits takes these too, and is
    then that of three classes, silence, onset and sustain.

    Args:
      x: 0 and 1.
      logits: of planes.
    """
    onset, sustain = jnp.moveaxis(planes_of(x) > 0, -1, 0)
    of_onset, of_sustain = jnp.moveaxis(_against_the_rest(logits), -1, 0)
    return jnp.where(onset, of_onset, jnp.where(sustain, of_sustain, cell_logits(logits)))


def _against_the_rest(logits: PlaneLogits) -> Float[Array, "B T P K planes=2"]:
    """The logit of each class's own probability: log(e^a / (1 + e^b)), and the other way round."""
    logits = jnp.asarray(logits)
    return logits - jax.nn.softplus(jnp.flip(logits, -1))
