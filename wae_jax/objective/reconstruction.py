"""Reconstruction costs c(x, x_hat), one number a phrase, `[B]`: sums over all cells of a phrase.

The squared error compares x with values x_hat of the cells: probabilities, or the 0 and 1 of binary neurons. The
cross-entropy takes the decoder's logits, so that it stays finite. One to two cells in a hundred are active;
`positive_weight`, the weight of active cells, keeps the silent ones from dominating the sum.
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
    logits_of_error = jnp.where(x > 0, -logits, logits)  # of the probability 1 - q
    return _weighted_sum(jax.nn.softplus(logits_of_error), x, positive_weight)


def onset_error(x: Cells, x_hat: CellValues) -> Costs:
    """(o - o_hat)^2 of all steps but the first, where o = x_t (1 - x_{t-1}) is 1 at the onset of a note.

    o_hat = x_hat_t (1 - x_hat_{t-1}) is the probability of an onset if cells are independent of each other.
    """
    x, x_hat = jnp.asarray(x), jnp.asarray(x_hat)
    return _sum(jnp.square(x[:, 1:] * (1 - x[:, :-1]) - x_hat[:, 1:] * (1 - x_hat[:, :-1])))


def make_cost(spec: CostSpec) -> Cost:
    """Returns the cost that a configuration describes: its kind, plus the weighted onset error.

    Returns:
      A function of phrases, logits of cells, and the function from logits to values of cells.
    """

    def cost(x: Cells, logits: Logits, to_values: LogitsToValues) -> Costs:
        if spec.kind == "squared_error":
            total = squared_error(x, to_values(logits), positive_weight=spec.positive_weight)
        else:
            total = cross_entropy(x, logits, positive_weight=spec.positive_weight)
        if spec.onset_weight:
            total += spec.onset_weight * onset_error(x, to_values(logits))
        return total

    return cost


def _weighted_sum(costs: Float[Array, "B T P K"], x: Cells, positive_weight: float) -> Costs:
    return _sum(costs if positive_weight == 1 else costs * jnp.where(x > 0, positive_weight, 1.0))


def _sum(costs: Float[Array, "B t P K"]) -> Costs:
    return jnp.sum(costs, axis=(1, 2, 3))
