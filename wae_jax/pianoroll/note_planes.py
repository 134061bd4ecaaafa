"""Onsets and sustained cells as two planes, which a decoder may output in place of cells.

A roll says whether a cell is active, and the cell before it whether a note begins there: touching notes of one pitch
have a silent step between them, so an onset is an active cell after a silent one or at a phrase's first step, and a
sustain is an active cell after an active one. Hawthorne et al. (arXiv 1710.11153) predict both independently; here a
cell is silent, an onset or a sustain, so a decoder's two logits a cell, a and b, are those of a softmax in which
silence has the logit 0:

    p(onset) = e^a / (1 + e^a + e^b),    p(sustain) = e^b / (1 + e^a + e^b)

A cell is active with the sum of the two probabilities, whose logit is log(e^a + e^b).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from wae_jax.array_types import AnyArray

CELLS = "cells"
ONSETS_AND_SUSTAINS = "onsets_and_sustains"
# What a decoder may output, and the number of its channels for each track.
OUTPUT_PLANES: Mapping[str, int] = {CELLS: 1, ONSETS_AND_SUSTAINS: 2}

Cells = Num[AnyArray, "B T P K"]  # 0 and 1
CellLogits = Float[AnyArray, "B T P K"]
PlaneLogits = Float[AnyArray, "B T P K planes=2"]  # onsets, sustains
Outputs = CellLogits | PlaneLogits  # of a decoder


def has_planes(outputs: Outputs) -> bool:
    """Whether outputs are logits of planes and not of cells."""
    return outputs.ndim == 5


def onset_sustain_planes(x: Cells) -> Num[Array, "B T P K planes=2"]:
    """Onsets and sustains of phrases, as 0 and 1."""
    x = jnp.asarray(x)
    before = jnp.concatenate([jnp.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    return jnp.stack([x * (1 - before), x * before], axis=-1)


def plane_probabilities(logits: PlaneLogits) -> Float[Array, "B T P K planes=2"]:
    """Probabilities that a cell is an onset and that it is a sustain."""
    return jax.nn.sigmoid(_class_logits(logits))


def cell_logits(outputs: Outputs) -> Float[Array, "B T P K"]:
    """Logits of the probabilities that cells are active, from logits of cells or of planes."""
    outputs = jnp.asarray(outputs)
    return jnp.logaddexp(outputs[..., 0], outputs[..., 1]) if has_planes(outputs) else outputs


def true_class_logits(x: Cells, logits: PlaneLogits) -> Float[Array, "B T P K"]:
    """The logit of a cell's true class where it is active, and of being active where it is silent.

    In place of the logits of cells, they turn a cost of two classes (silent, active) into one of three.
    """
    onset, sustain = jnp.moveaxis(onset_sustain_planes(x) > 0, -1, 0)
    of_onset, of_sustain = jnp.moveaxis(_class_logits(logits), -1, 0)
    return jnp.where(onset, of_onset, jnp.where(sustain, of_sustain, cell_logits(logits)))


def _class_logits(logits: PlaneLogits) -> Float[Array, "B T P K planes=2"]:
    """Logits of the two classes' own probabilities: log(e^a / (1 + e^b)) and log(e^b / (1 + e^a))."""
    logits = jnp.asarray(logits)
    return logits - jax.nn.softplus(jnp.flip(logits, -1))
