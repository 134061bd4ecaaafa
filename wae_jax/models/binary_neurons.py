"""Binary neurons: cells that are on or off while training, with a derivative that stands in for the step's.

A decoder that is trained on probabilities learns to be unsure, and whatever cuts these at a threshold afterwards tears
notes where it was. With binary neurons as its last layer the cost is that of the cut music itself (Dong and Yang, arXiv
1804.09399). A step has no useful derivative; in its place is either 1, as if the neuron were not there ("straight
through", Hinton 2012; Bengio et al., arXiv 1308.3432), or that of the sigmoid ("sigmoid-adjusted").

Evaluation and sampling know nothing of them: probabilities are sigmoid(logit) as ever, and the deterministic neuron is
the cut of these at 1/2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.config import BinaryNeuronSpec

KINDS = ("none", "deterministic", "stochastic")
GRADIENTS = ("straight_through", "sigmoid_adjusted")

Logits = Float[AnyArray, "B *shape"]
Cells = Float[Array, "B *shape"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def fire(
    logits: Float[AnyArray, "*shape"],
    cut: Float[AnyArray, "*#shape"] | float,
    slope: Float[AnyArray, ""] | float,
    gradient: str,
) -> Float[Array, "*shape"]:
    """1 where sigmoid(slope * logit) is above the cut, else 0.

    A cut of 1/2 makes deterministic neurons, a uniform number for each makes stochastic ones: those fire with
    probability sigmoid(slope * logit).

    Args:
      logits: of any shape.
      cut: between 0 and 1; nothing is derived by it.
      slope: of the sigmoid, above 0; nothing is derived by it either.
      gradient: one of `GRADIENTS`, which is what stands for the derivative by the logits: 1 for "straight_through",
        and for "sigmoid_adjusted" that of sigmoid(slope * logit).

    Returns:
      0 and 1 of the type of `logits`.
    """
    del gradient
    return (_probability(logits, slope) > cut).astype(logits.dtype)


@fire.defjvp
def _fire_jvp(
    gradient: str,
    primals: tuple[Float[AnyArray, "*shape"], Float[AnyArray, "*#shape"] | float, Float[AnyArray, ""] | float],
    tangents: tuple[Array, Array, Array],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    logits, cut, slope = primals
    change = tangents[0]
    if gradient == "sigmoid_adjusted":
        p = _probability(logits, slope)
        change = jnp.asarray(slope, p.dtype) * p * (1 - p) * change
    return fire(logits, cut, slope, gradient), change


def _probability(logits: Float[AnyArray, "*shape"], slope: Float[AnyArray, ""] | float) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(jnp.asarray(slope, logits.dtype) * logits)


def annealed_slope(step: Int[AnyArray, ""], *, growth: float, maximum: float) -> Float[Array, ""]:
    """The sigmoid's slope at a step: 1 at first, `growth` times that after every 1,000 steps, up to `maximum`.

    The paper multiplies it by 1.1 after each epoch. Its 13,746 phrases in batches of 32 make 429 steps of an epoch, so
    that this is a growth of 1.25 by 1,000 steps; and it is 6.1 in the last of its twenty epochs.
    """
    return jnp.minimum(growth ** (step / 1000), maximum)


def make_cell_values(
    spec: BinaryNeuronSpec,
) -> Callable[[Key[Array, " B"], Int[AnyArray, ""]], Callable[[Logits], Cells]]:
    """Returns a function that makes the cells' values, which the reconstruction cost sees, of logits.

    Returns:
      A function of a key a phrase and the step, to a function of logits: to probabilities, where `kind` is "none",
      else to 0 and 1. Only stochastic neurons use the keys.
    """

    def values_of(keys: Key[Array, " B"], step: Int[AnyArray, ""]) -> Callable[[Logits], Cells]:
        def values(logits: Logits) -> Cells:
            slope = annealed_slope(step, growth=spec.slope_growth, maximum=spec.max_slope)
            cut = _uniform(keys, logits) if spec.kind == "stochastic" else 0.5
            return fire(logits, cut, slope, spec.gradient)

        return jax.nn.sigmoid if spec.kind == "none" else values

    return values_of


def _uniform(keys: Key[Array, " B"], like: Logits) -> Cells:
    return jax.vmap(lambda key: jax.random.uniform(key, like.shape[1:], like.dtype))(keys)
