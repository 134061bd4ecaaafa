"""Binary neurons: cells that are 0 or 1 in training, with a surrogate for the derivative of the step function.

A decoder trained on probabilities becomes uncertain, and thresholding its probabilities afterwards breaks notes apart.
With binary neurons as its last layer, the cost is that of the thresholded music (Dong and Yang, arXiv 1804.09399). The
surrogate derivative is 1 ("straight_through": Bengio et al., arXiv 1308.3432), or that of the sigmoid
("sigmoid_adjusted").

Evaluation and sampling use probabilities, sigmoid(logit), as for any decoder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.config import BinaryNeuronSpec

Logits = Float[AnyArray, "B *shape"]
Cells = Float[Array, "B *shape"]
Slope = Float[AnyArray, ""] | float


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def fire(
    logits: Float[AnyArray, "*shape"], cut: Float[AnyArray, "*#shape"] | float, slope: Slope, gradient: str
) -> Float[Array, "*shape"]:
    """1 where sigmoid(slope * logit) is above the cut, else 0; of the type of `logits`.

    Args:
      logits: of any shape.
      cut: 1/2 for deterministic neurons; uniform random numbers for stochastic ones, which then fire with probability
        sigmoid(slope * logit). Not differentiated.
      slope: of the sigmoid, above 0. Not differentiated.
      gradient: the surrogate derivative by the logits: "straight_through" is 1, "sigmoid_adjusted" that of
        sigmoid(slope * logit).
    """
    del gradient
    return (_probability(logits, slope) > cut).astype(logits.dtype)


@fire.defjvp
def _fire_jvp(
    gradient: str,
    primals: tuple[Float[AnyArray, "*shape"], Float[AnyArray, "*#shape"] | float, Slope],
    tangents: tuple[Array, Array, Array],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    logits, cut, slope = primals
    change = tangents[0]
    if gradient == "sigmoid_adjusted":
        p = _probability(logits, slope)
        change = jnp.asarray(slope, p.dtype) * p * (1 - p) * change
    return fire(logits, cut, slope, gradient), change


def _probability(logits: Float[AnyArray, "*shape"], slope: Slope) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(jnp.asarray(slope, logits.dtype) * logits)


def annealed_slope(step: Int[AnyArray, ""], *, growth: float, maximum: float) -> Float[Array, ""]:
    """The sigmoid's slope at a step: 1 at first, multiplied by `growth` every 1,000 steps, at most `maximum`.

    The paper multiplies it by 1.1 every epoch of 429 steps, that is by 1.25 every 1,000 steps; it is 6.1 in the last of
    the twenty epochs.
    """
    return jnp.minimum(growth ** (step / 1000), maximum)


def make_cell_values(
    spec: BinaryNeuronSpec,
) -> Callable[[Key[Array, " B"], Int[AnyArray, ""]], Callable[[Logits], Cells]]:
    """Returns a function of keys, one a phrase, and the step, to the function from logits to values of cells.

    The values, which the reconstruction cost compares with the music, are probabilities if `spec.kind` is "none", else
    0 and 1. Only stochastic neurons use the keys.
    """

    def make_values(keys: Key[Array, " B"], step: Int[AnyArray, ""]) -> Callable[[Logits], Cells]:
        def values(logits: Logits) -> Cells:
            slope = annealed_slope(step, growth=spec.slope_growth, maximum=spec.max_slope)
            cut = _uniform(keys, logits) if spec.kind == "stochastic" else 0.5
            return fire(logits, cut, slope, spec.gradient)

        return jax.nn.sigmoid if spec.kind == "none" else values

    return make_values


def _uniform(keys: Key[Array, " B"], like: Logits) -> Cells:
    return jax.vmap(lambda key: jax.random.uniform(key, like.shape[1:], like.dtype))(keys)
