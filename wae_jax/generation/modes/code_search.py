"""Gradient descent on codes whose decoded phrases are as near as possible to given tracks.

The cost of a code z is

    100 * (1 - soft F1 of the kept tracks)  -  log p(|z|)

The first term is the F1 that modes report, made smooth with probabilities in place of cells, as in the Dice loss of
V-Net (arXiv 1606.04797); it weighs a phrase of few cells as much as one of many. In the second, p is the density of the
norm of samples of the prior, which keeps codes where the decoder was trained, and away from the origin, where the prior
has no samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float64

from wae_jax.array_types import AnyArray
from wae_jax.generation.model import Model
from wae_jax.generation.modes.request import Request
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.models.autoencoder import Autoencoder
from wae_jax.pianoroll import NUM_TRACKS, Codes, Probabilities, Rolls

_FAITHFULNESS = 100.0
_LEARNING_RATE = 0.2
_NUM_STEPS = 100
# Starts lie at the encoder's code, around it with this deviation, and at samples of the prior.
_SPREAD = 0.5
_STARTS_OF_INPUT = 12
_CODES_AT_A_TIME = 32
# Keeps the logarithm of a norm finite at the origin.
_LEAST = 1e-6


def cost(
    autoencoder: Autoencoder,
    variables: Any,
    z: Float[AnyArray, "B Z"],
    target: Float[AnyArray, "B T P K"],
    kept: Bool[AnyArray, " K"],
    prior_variance: float | Float[AnyArray, ""],
) -> Float[Array, " B"]:
    """The cost of each code, for a target of 0 and 1 of which the tracks `kept` are given."""
    probabilities = jax.nn.sigmoid(jnp.asarray(autoencoder.apply(variables, z, method="decode"))) * kept
    target = target * kept
    both, total = jnp.sum(probabilities * target, (1, 2, 3)), jnp.sum(probabilities + target, (1, 2, 3))
    squared_norm = jnp.sum(jnp.square(z), axis=1) / prior_variance
    log_density = 0.5 * (z.shape[1] - 1) * jnp.log(squared_norm + _LEAST) - 0.5 * squared_norm
    return _FAITHFULNESS * (1 - 2 * both / total) - log_density


@functools.partial(jax.jit, static_argnames=("autoencoder", "num_steps"))
def _descend(
    autoencoder: Autoencoder,
    variables: Any,
    start: Float[Array, "B Z"],
    target: Float[Array, "B T P K"],
    kept: Bool[AnyArray, " K"],
    prior_variance: float | Float[AnyArray, ""],
    num_steps: int,
) -> tuple[Float[Array, "B Z"], Float[Array, " B"]]:
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))

    def costs(z: Float[Array, "B Z"]) -> Float[Array, " B"]:
        return cost(autoencoder, variables, z, target, kept, prior_variance)

    # Each cost depends on its own code alone, so that the gradient of the sum has the gradient of each.
    gradient = jax.grad(lambda z: jnp.sum(costs(z)))

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        z, state = carry
        updates, state = optimizer.update(gradient(z), state)
        return (optax.apply_updates(z, updates), state), None

    (z, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), None, length=num_steps)
    return z, costs(z)


def search_codes(
    model: Model,
    target: Rolls,
    kept: Bool[np.ndarray, " K"],
    *,
    num_starts: int,
    seed: int,
    num_steps: int = _NUM_STEPS,
) -> tuple[Float[np.ndarray, "B starts Z"], Float[np.ndarray, "B starts"]]:
    """Searches codes of phrases of which the tracks `kept` are given, from several starts for each.

    The first start is the encoder's code of the given tracks alone; the others are in turn samples around it and
    samples of the prior.

    Returns:
      The codes and their costs, by phrase and start, in the order of the starts.
    """
    known = target & kept
    codes = model.encode(known)
    samples = model.sample_codes(seed, len(target) * num_starts).reshape(len(target), num_starts, -1)
    by_phrase = samples.copy()
    by_phrase[:, 1::2] = codes[:, None] + _SPREAD * samples[:, 1::2]
    by_phrase[:, 0] = codes
    shape = by_phrase.shape
    starts = by_phrase.reshape(-1, shape[-1])
    of_phrase = np.repeat(np.arange(len(target)), num_starts)
    size = min(len(starts), _CODES_AT_A_TIME)
    found = []
    for begin in range(0, len(starts), size):
        # The last part is filled up with codes of the first: parts of one size compile once.
        part = np.arange(begin, begin + size) % len(starts)
        z, costs = _descend(
            model.autoencoder,
            model.variables,
            jnp.asarray(starts[part], jnp.float32),
            jnp.asarray(known[of_phrase[part]], jnp.float32),
            jnp.asarray(kept),
            float(model.config.objective.prior_variance),
            num_steps,
        )
        found.append((np.asarray(z), np.asarray(costs)))
    all_codes, all_costs = (np.concatenate(parts)[: len(starts)] for parts in zip(*found, strict=True))
    return all_codes.reshape(shape), all_costs.reshape(shape[:2])


def find_codes(
    model: Model, rolls: Rolls, *, binarize: Callable[[Probabilities], Rolls], seed: int
) -> tuple[Codes, Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
    """Codes of phrases that may be unlike the training data: the encoder's, or one that a search found if it is nearer.

    Returns:
      The codes; F1 of the phrases decoded from the encoder's codes; F1 of those decoded from the codes returned.
    """
    encoded = model.encode(rolls)
    z, costs = search_codes(model, rolls, np.ones(NUM_TRACKS, bool), num_starts=_STARTS_OF_INPUT, seed=seed)
    searched = z[np.arange(len(z)), costs.argmin(axis=1)]
    at_encoded, at_searched = (cell_f1(binarize(model.decode(codes)), rolls) for codes in (encoded, searched))
    codes = np.where((at_searched > at_encoded)[:, None], searched, encoded).astype(np.float32)
    return codes, at_encoded, np.maximum(at_encoded, at_searched)


def find_input_codes(model: Model, request: Request) -> tuple[Codes, list[dict[str, Any]]]:
    """Codes of the user's phrases, and rows of a table: how near the phrases decoded from them are."""
    codes, encoded, used = find_codes(model, request.input_rolls(), binarize=request.binarize, seed=request.seed)
    rows = [
        {
            "original": each.name,
            "F1 of the encoder's code": float(one),
            "F1 of the code used": float(other),
            "notes left out": each.notes_left_out,
        }
        for each, one, other in zip(request.inputs, encoded, used, strict=True)
    ]
    return codes, rows
