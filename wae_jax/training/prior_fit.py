"""Fits the learned prior of a run to the codes of training phrases."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Int64, UInt8

from wae_jax.config import Config
from wae_jax.data.dataset import spread
from wae_jax.data.pipeline import Batch, InputPipeline, replicate
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.pianoroll import device
from wae_jax.training.calls import parallel_step
from wae_jax.training.finiteness import non_finite_error
from wae_jax.training.learned_prior import MAX_PHRASES, fit_kernel_density
from wae_jax.training.state import TrainState
from wae_jax.training.step import gather

_LOG = logging.getLogger(__name__)


def make_prior_fit(
    config: Config,
    train_rows: UInt8[np.ndarray, "train bytes=10080"],
    train_songs: Int64[np.ndarray, " train"] | None,
) -> Callable[[TrainState], TrainState]:
    """Returns a function that fits the learned prior of a state.

    Args:
      config: of the run.
      train_rows: the packed phrases of the training split.
      train_songs: the song of each, where songs are known.

    Returns:
      A function of a replicated state to the state with a new `learned_prior`, to be called by all processes. It
      changes nothing if the configuration samples from the normal prior, or there are fewer than two phrases; then
      the learned prior stays N(0, prior_variance * I), as it begins, which is logged. It raises NonFiniteLossError if
      a code is not finite.
    """
    if config.prior == "normal":
        return lambda state: state
    if len(train_rows) < 2:
        if jax.process_index() == 0:
            _LOG.warning(
                "prior is 'kernel_density', which takes the codes of at least two training phrases, and there is %d: "
                "samples come from N(0, %g I)",
                len(train_rows),
                config.objective.prior_variance,
            )
        return lambda state: state
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype)

    def encode_step(state: TrainState, batch: Batch) -> Float[Array, "B Z"]:
        x = device.unpack_on_device(batch.packed)
        return gather(jnp.asarray(model.apply(state.evaluation_variables(), x, method="encode")))

    encode = parallel_step(encode_step)
    chosen = spread(len(train_rows), MAX_PHRASES)
    rows, songs = np.asarray(train_rows[chosen]), None if train_songs is None else train_songs[chosen]
    pipeline = InputPipeline(rows, batch_size=config.batch_size)

    def fit(state: TrainState) -> TrainState:
        parts = jax.device_get([encode(state, batch) for batch in pipeline.evaluation_batches()])
        codes = np.concatenate(parts)[: len(rows)]
        if not np.isfinite(codes).all():
            raise non_finite_error(["codes of training phrases"], f"after step {int(state.step)}")
        density = fit_kernel_density(codes, songs=songs).padded()
        density = jax.tree.map(lambda new, old: new.astype(old.dtype), density, state.learned_prior)
        if jax.process_count() > 1:  # whose rounding may differ
            density = multihost_utils.broadcast_one_to_all(density)
        return dataclasses.replace(state, learned_prior=replicate(density))

    return fit
