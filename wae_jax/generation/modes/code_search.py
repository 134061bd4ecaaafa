"""Codes whose decoded phrase comes as near as can be to given tracks: found by descending a cost, not by the encoder.

The cost of a code z is

    100 * (1 - soft F1 of the kept tracks)  -  log p(|z|)

The first term is what the figures of faithfulness count, made smooth: with probabilities in place of cells, as in the
Dice loss of V-Net (arXiv 1606.04797), it weighs a phrase of few cells as much as one of many. In the second, p is the
density of the norm of draws from the prior, so that codes stay where the decoder has been trained, and are not drawn to
the origin, where no draw lies.
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
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.models.autoencoder import Autoencoder
from wae_jax.pianoroll import NUM_TRACKS, Codes, Probabilities, Rolls

_FAITHFULNESS = 100.0
_LEARNING_RATE = 0.2
_NUM_STEPS = 100
# Where a search starts: at the encoder's code and around it, and at draws of the prior.
_SPREAD = 0.5
_STARTS_OF_OWN = 12
_CODES_AT_A_TIME = 32
# Keeps the logarithm of a norm finite at the origin.
_LEAST = 1e-6


def cost(
    model: Autoencoder,
    variables: Any,
    z: Float[AnyArray, "B Z"],
    target: Float[AnyArray, "B T P K"],
    kept: Bool[AnyArray, " K"],
    prior_variance: float | Float[AnyArray, ""],
) -> Float[Array, " B"]:
    """What is descended, one number a code.

    Args:
      model: the autoencoder.
      variables: its own.
      z: codes.
      target: 0 and 1.
      kept: the tracks that count.
      prior_variance: of the prior.
    """
    probabilities = jax.nn.sigmoid(jnp.asarray(model.apply(variables, z, method="decode"))) * kept
    target = target * kept
    both, total = jnp.sum(probabilities * target, (1, 2, 3)), jnp.sum(probabilities + target, (1, 2, 3))
    squared_norm = jnp.sum(jnp.square(z), axis=1) / prior_variance
    log_density = 0.5 * (z.shape[1] - 1) * jnp.log(squared_norm + _LEAST) - 0.5 * squared_norm
    return _FAITHFULNESS * (1 - 2 * both / total) - log_density


@functools.partial(jax.jit, static_argnames=("model", "num_steps"))
def _descend(
    model: Autoencoder,
    variables: Any,
    start: Float[Array, "B Z"],
    target: Float[Array, "B T P K"],
    kept: Bool[AnyArray, " K"],
    prior_variance: float | Float[AnyArray, ""],
    num_steps: int,
) -> tuple[Float[Array, "B Z"], Float[Array, " B"]]:
    """The codes after so many steps of Adam, and what they cost."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))

    def of(z: Float[Array, "B Z"]) -> Float[Array, " B"]:
        return cost(model, variables, z, target, kept, prior_variance)

    # Codes do not see each other, so that the gradient of the sum is that of each.
    gradient = jax.grad(lambda z: jnp.sum(of(z)))

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        z, state = carry
        updates, state = optimizer.update(gradient(z), state)
        return (optax.apply_updates(z, updates), state), None

    (z, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), None, length=num_steps)
    return z, of(z)


def search_codes(
    run: Model, target: Rolls, kept: Bool[np.ndarray, " K"], *, num_starts: int, seed: int, num_steps: int = _NUM_STEPS
) -> tuple[Float[np.ndarray, "B starts Z"], Float[np.ndarray, "B starts"]]:
    """Searches codes for phrases of which some tracks are known, from several starts for each at once.

    The first start is the encoder's code of the kept tracks alone; of the others every second one lies around it, and
    every second one is a draw of the prior.

    Args:
      run: a trained run.
      target: phrases; only their kept tracks matter.
      kept: the tracks that are known.
      num_starts: for each phrase.
      seed: of the starts.
      num_steps: of the descent.

    Returns:
      The codes that were found and what they cost, by phrase and start, in the order of the starts.
    """
    known = target & kept
    codes = run.sampler.encode(known)
    draws = run.sampler.sample_codes(seed, len(target) * num_starts).reshape(len(target), num_starts, -1)
    by_phrase = draws.copy()
    by_phrase[:, 1::2] = codes[:, None] + _SPREAD * draws[:, 1::2]
    by_phrase[:, 0] = codes
    shape = by_phrase.shape
    starts = by_phrase.reshape(-1, shape[-1])
    of_phrase = np.repeat(np.arange(len(target)), num_starts)
    size = min(len(starts), _CODES_AT_A_TIME)
    found = []
    for begin in range(0, len(starts), size):
        # The last part is filled up with codes of the first, so that all parts are of one size and compile once.
        part = np.arange(begin, begin + size) % len(starts)
        z, costs = _descend(
            run.autoencoder,
            run.variables,
            jnp.asarray(starts[part], jnp.float32),
            jnp.asarray(known[of_phrase[part]], jnp.float32),
            jnp.asarray(kept),
            float(run.config.objective.prior_variance),
            num_steps,
        )
        found.append((np.asarray(z), np.asarray(costs)))
    all_codes, all_costs = (np.concatenate(parts)[: len(starts)] for parts in zip(*found, strict=True))
    return all_codes.reshape(shape), all_costs.reshape(shape[:2])


def own_codes(
    run: Model, rolls: Rolls, *, binarize: Callable[[Probabilities], Rolls], seed: int
) -> tuple[Codes, Float64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
    """Codes of phrases that may be unlike all that the run was trained on.

    For each, the encoder's code, or the one that a search found if its phrase is nearer.

    Args:
      run: a trained run.
      rolls: the phrases.
      binarize: makes phrases of probabilities.
      seed: of the search.

    Returns:
      The codes; the F1 of the phrases decoded from the encoder's codes; and that of those from the codes returned.
    """
    encoded = run.sampler.encode(rolls)
    z, costs = search_codes(run, rolls, np.ones(NUM_TRACKS, bool), num_starts=_STARTS_OF_OWN, seed=seed)
    searched = z[np.arange(len(z)), costs.argmin(axis=1)]
    at_encoded, at_searched = (cell_f1(binarize(run.sampler.decode(codes)), rolls) for codes in (encoded, searched))
    codes = np.where((at_searched > at_encoded)[:, None], searched, encoded).astype(np.float32)
    return codes, at_encoded, np.maximum(at_encoded, at_searched)
