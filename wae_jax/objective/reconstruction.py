"""The reconstruction cost c(x, G(z)): the original's squared error, and others to set beside it.

All are sums over the cells of a phrase. What differs from 0 and 1 by how much is a matter of the cells' values:
probabilities, or the 0 and 1 of binary neurons. What asks how surprised a decoder is takes its logits, so that it is
finite wherever that goes. Of 80,640 cells one to two in a hundred sound; `positive_weight` and the focal form are two
ways to keep the silent ones from having their way.

A decoder with planes for onsets and sustains (`note_planes.py`) has the same costs, of three classes in place of two:
the squared errors of both planes, or the surprise at silence, onset or sustain. What is added for onsets and smoothness
is of the cells that the planes make.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from wae_jax.array_types import AnyArray
from wae_jax.config import CostSpec
from wae_jax.pianoroll import note_planes
from wae_jax.pianoroll.note_planes import Outputs, PlaneLogits

Cells = Num[AnyArray, "B T P K"]
Logits = Float[AnyArray, "B T P K"]
CellCosts = Float[Array, "B T P K"]
# Of the cells, by their logits: probabilities, or 0 and 1.
Values = Callable[[Logits], Float[Array, "B T P K"]]
Cost = Callable[[Cells, Outputs, Values], Float[Array, " B"]]


def squared_error(x: Cells, p: Float[AnyArray, "B T P K"]) -> CellCosts:
    """(x - p)^2 of each cell, where p is its probability, or 0 or 1."""
    return jnp.square(x - p)


def planes_squared_error(x: Cells, logits: PlaneLogits) -> CellCosts:
    """(o - p)^2 + (s - q)^2 of each cell: an onset has o = 1, a sustain s = 1, and p and q are their probabilities."""
    return jnp.sum(jnp.square(note_planes.planes_of(x) - note_planes.plane_probabilities(logits)), axis=-1)


def cross_entropy(x: Cells, logits: Logits) -> CellCosts:
    """-log of the probability that the decoder gives to what is so, in nats."""
    return jax.nn.softplus(jnp.where(x > 0, -logits, logits))


def focal(x: Cells, logits: Logits, *, gamma: float) -> CellCosts:
    """The cross-entropy times (1 - q)^gamma, where q is the probability that the decoder gives to what is so.

    Cells that are right already count for little; gamma = 0 is the cross-entropy. Equation 4 of Lin et al. (arXiv
    1708.02002).
    """
    wrong = jnp.where(x > 0, -logits, logits)
    return jnp.exp(gamma * jax.nn.log_sigmoid(wrong)) * jax.nn.softplus(wrong)


def onset_error(x: Cells, p: Float[AnyArray, "B T P K"]) -> Float[Array, "B t P K"]:
    """(o - o_hat)^2 of each step but the first, where a note begins, o, if the cell sounds and the one before does not.

    o_hat is the probability of that if cells were independent of each other: p_t (1 - p_{t-1}).
    """
    x, p = jnp.asarray(x), jnp.asarray(p)
    return jnp.square(x[:, 1:] * (1 - x[:, :-1]) - p[:, 1:] * (1 - p[:, :-1]))


def roughness(x: Cells, p: Float[AnyArray, "B T P K"]) -> Float[Array, "B t P K"]:
    """(p_t - p_{t-1})^2 of each step but the first at which the music does not change; 0 where it does.

    What tears a note, and what puts a speck into silence, is a change of probability where there is none in the music.
    """
    x, p = jnp.asarray(x), jnp.asarray(p)
    return jnp.square(p[:, 1:] - p[:, :-1]) * (x[:, 1:] == x[:, :-1])


COSTS = ("squared_error", "cross_entropy", "focal")


def make_cost(spec: CostSpec) -> Cost:
    """The cost of each phrase, [B], from `config.objective.cost`.

    kind: one of `COSTS`; of cells that sound, `positive_weight` times. To this are added `onset_weight` times the
    onsets' error and `smoothness_weight` times the roughness.

    Returns:
      A function of phrases, the decoder's outputs, which are logits of cells or of planes, and how cells' values are
      made of their logits.
    """

    def of_cells(x: Cells, logits: Logits, values: Values) -> CellCosts:
        match spec.kind:
            case "squared_error":
                return squared_error(x, values(logits))
            case "cross_entropy":
                return cross_entropy(x, logits)
            case _:
                return focal(x, logits, gamma=spec.focal_gamma)

    def of_planes(x: Cells, logits: PlaneLogits, values: Values) -> CellCosts:
        if spec.kind == "squared_error":
            return planes_squared_error(x, logits)
        return of_cells(x, note_planes.logits_of_kind(x, logits), values)

    def cost(x: Cells, outputs: Outputs, values: Values) -> Float[Array, " B"]:
        cells = of_planes(x, outputs, values) if note_planes.has_planes(outputs) else of_cells(x, outputs, values)
        logits = note_planes.cell_logits(outputs)
        if spec.positive_weight != 1:
            cells = cells * jnp.where(x > 0, spec.positive_weight, 1.0)
        total = _sum(cells)
        if spec.onset_weight:
            total += spec.onset_weight * _sum(onset_error(x, values(logits)))
        if spec.smoothness_weight:
            total += spec.smoothness_weight * _sum(roughness(x, values(logits)))
        return total

    return cost


def _sum(cells: Float[Array, "B t *rest"]) -> Float[Array, " B"]:
    return jnp.sum(cells, axis=tuple(range(1, cells.ndim)))
