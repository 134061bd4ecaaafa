"""Reconstruction costs c(x, x_hat), one number a phrase, `[B]`: sums over all cells of a phrase.

The squared error compares x with values x_hat of the cells: probabilities, or the 0 and 1 of binary neurons. The
cross-entropy and the focal cost take the decoder's logits, so that they stay finite. One to two cells in a hundred are
active; `positive_weight` (the weight of active cells) and the focal cost keep the silent ones from dominating the sum.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from wae_jax.array_types import AnyArray
from wae_jax.config import CostSpec

Cells = Num[AnyArray, "B T P K"]  # 0 and 1
CellValues = Float[AnyArray, "B T P K"]  # probabilities, or 0 and 1
Logits = Float[AnyArray, "B T P K"]
Costs = Float[Array, " B"]
LogitsToValues = Callable[[Logits], Float[Array, "B T P K"]]
Cost = Callable[[Cells, Logits, LogitsToValues], Costs]


def squared_error(x: Cells, x_hat: CellValues, *, positive_weight: float = 1.0) -> Costs:
    """||x - x_hat||^2, the cost of WAE (arXiv 1711.01558, section 4).

    Raises:
      ValueError: if the shapes differ.
    """
    if x.shape != x_hat.shape:
        raise ValueError(f"x has shape {x.shape} but x_hat {x_hat.shape}")
    return _weighted_sum(jnp.square(x - x_hat), x, positive_weight)


def cross_entropy(x: Cells, logits: Logits, *, positive_weight: float = 1.0) -> Costs:
    """-log q, where q is the probability that the decoder assigns to the true state of a cell; in nats."""
    return _weighted_sum(jax.nn.softplus(_logits_of_error(x, logits)), x, positive_weight)


def focal(x: Cells, logits: Logits, *, gamma: float, positive_weight: float = 1.0) -> Costs:
    """-(1 - q)^gamma log q, with q as in `cross_entropy` (arXiv 1708.02002, equation 4).

    Cells that are right already count for little; gamma = 0 is the cross-entropy.
    """
    error = _logits_of_error(x, logits)
    return _weighted_sum(jnp.exp(gamma * jax.nn.log_sigmoid(error)) * jax.nn.softplus(error), x, positive_weight)


def onset_error(x: Cells, x_hat: CellValues) -> Costs:
    """(o - o_hat)^2 of all steps but the first, where o = x_t (1 - x_{t-1}) is 1 at the onset of a note.

    o_hat = x_hat_t (1 - x_hat_{t-1}) is the probability of an onset if cells are independent of each other.
    """
    x, x_hat = jnp.asarray(x), jnp.asarray(x_hat)
    return _sum(jnp.square(x[:, 1:] * (1 - x[:, :-1]) - x_hat[:, 1:] * (1 - x_hat[:, :-1])))


def roughness(x: Cells, x_hat: CellValues) -> Costs:
    """(x_hat_t - x_hat_{t-1})^2 of all steps but the first at which x does not change.

    A probability that changes where the music does not splits a note, or puts a very short one into silence.
    """
    x, x_hat = jnp.asarray(x), jnp.asarray(x_hat)
    return _sum(jnp.square(x_hat[:, 1:] - x_hat[:, :-1]) * (x[:, 1:] == x[:, :-1]))


def make_cost(spec: CostSpec) -> Cost:
    """Returns the cost that a configuration describes: its kind, plus the weighted onset error and roughness.

    Returns:
      A function of phrases, logits of cells, and the function from logits to values of cells.
    """

    def kind_cost(x: Cells, logits: Logits, to_values: LogitsToValues) -> Costs:
        if spec.kind == "squared_error":
            return squared_error(x, to_values(logits), positive_weight=spec.positive_weight)
        if spec.kind == "cross_entropy":
            return cross_entropy(x, logits, positive_weight=spec.positive_weight)
        return focal(x, logits, gamma=spec.focal_gamma, positive_weight=spec.positive_weight)

    def cost(x: Cells, logits: Logits, to_values: LogitsToValues) -> Costs:
        total = kind_cost(x, logits, to_values)
        if spec.onset_weight:
            total += spec.onset_weight * onset_error(x, to_values(logits))
        if spec.smoothness_weight:
            total += spec.smoothness_weight * roughness(x, to_values(logits))
        return total

    return cost


def _logits_of_error(x: Cells, logits: Logits) -> Float[Array, "B T P K"]:
    """Logits of the probability 1 - q that the decoder assigns to the wrong state of a cell."""
    return jnp.where(x > 0, -logits, logits)


def _weighted_sum(costs: Float[Array, "B T P K"], x: Cells, positive_weight: float) -> Costs:
    return _sum(costs if positive_weight == 1 else costs * jnp.where(x > 0, positive_weight, 1.0))


def _sum(costs: Float[Array, "B t P K"]) -> Costs:
    return jnp.sum(costs, axis=(1, 2, 3))
