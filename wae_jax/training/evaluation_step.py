"""Evaluation of a state on subsets of the data: reconstructions, and how the codes differ from the prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.config import Config
from wae_jax.data.pipeline import BATCH_AXIS, PADDING, Batch, InputPipeline
from wae_jax.metrics.reconstruction import CellCounts, CellScores, cell_scores, count_cells
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.models.encoder_decoder import sample_codes
from wae_jax.objective.prior import sample_prior
from wae_jax.objective.reconstruction import squared_error
from wae_jax.pianoroll import Codes, device
from wae_jax.training.calls import parallel_step
from wae_jax.training.latent_penalties import Metrics, make_penalty
from wae_jax.training.random_keys import example_keys, shared_key
from wae_jax.training.state import TrainState
from wae_jax.training.step import gather

# The step whose keys evaluations use: before the first, so that they share no samples with a training step.
_EVALUATION_STEP = -1


class Evaluated(NamedTuple):
    """Sums that one global batch adds to an evaluation.

    Attributes:
      reconstruction: sum of ||x - x_hat||^2 over the phrases, without padding.
      cells: `CellCounts`, summed likewise.
      mean: means of the codes, padding included; reconstructions are made of these.
      log_variance: of the codes of a Gaussian encoder, else None.
    """

    reconstruction: Float[AnyArray, ""]
    cells: CellCounts
    mean: Float[AnyArray, "B Z"]
    log_variance: Float[AnyArray, "B Z"] | None = None


def make_evaluate_step(config: Config) -> Callable[[TrainState, Batch], Evaluated]:
    """Returns the evaluation step, to be mapped over `BATCH_AXIS` with the state unmapped."""
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype)

    def evaluate_step(state: TrainState, batch: Batch) -> Evaluated:
        x = device.unpack_on_device(batch.packed)
        encoded, logits = model.apply(state.evaluation_variables(), x, method="autoencode")
        x_hat = jax.nn.sigmoid(jnp.asarray(logits))
        weight = jnp.asarray(batch.position != PADDING, jnp.float32)
        per_phrase = (squared_error(x, x_hat), count_cells(x, x_hat, threshold=config.eval.threshold))
        sums = jax.tree.map(lambda values: jnp.sum(weight * values), per_phrase)
        reconstruction, cells = lax.psum(sums, BATCH_AXIS)
        log_variance = None if encoded.log_variance is None else gather(encoded.log_variance)
        return Evaluated(reconstruction, cells, gather(encoded.mean), log_variance)

    return evaluate_step


def make_latent_metrics(config: Config) -> Callable[[Any, Codes, Codes | None], Metrics]:
    """Returns a function of the discriminator's params and at least two codes to the penalty and its metrics.

    Codes are given as means, with the log variances of a Gaussian encoder or None. For a Gaussian encoder, a sample of
    each code's distribution is compared with the prior, as in training. The prior samples depend only on the seed, so
    that evaluations at different steps are comparable.

    All codes of a subset are compared at once: neighboring phrases are often of one song, and a mean over batches of
    neighbors would measure how songs differ rather than how the codes differ from the prior.
    """
    latent_dim, variance = config.model.z_dim, config.objective.prior_variance
    penalty = make_penalty(config.objective, config.discriminator, latent_dim=latent_dim, dtype=config.dtype)

    @jax.jit
    def latent_metrics(
        params: Any, mean: Float[Array, "n Z"], log_variance: Float[Array, "n Z"] | None = None
    ) -> Metrics:
        step = jnp.int32(_EVALUATION_STEP)
        keys = example_keys(config.seed, step, jnp.arange(len(mean)))
        z_prior = sample_prior(keys.prior, latent_dim=latent_dim, prior_variance=variance)
        encoded = sample_codes(mean, log_variance, keys.noise)
        return penalty.evaluate(params, encoded, z_prior, shared_key(config.seed, step))

    return latent_metrics


def reconstruction_metrics(batches: Sequence[Evaluated], *, num_phrases: int) -> dict[str, float]:
    """Mean ||x - x_hat||^2 and predicted cells a phrase; precision, recall and F1 over all cells together."""
    hits, predicted, actual = (sum(map(float, counts)) for counts in zip(*(b.cells for b in batches), strict=True))
    return {
        "reconstruction": sum(float(batch.reconstruction) for batch in batches) / num_phrases,
        **{name: float(score) for name, score in cell_scores(hits, predicted, actual)._asdict().items()},
        "cells": predicted / num_phrases,
    }


def moment_metrics(mean: Codes, log_variance: Codes | None, *, prior_variance: float) -> dict[str, float]:
    """Root mean square differences between the moments of codes and of the prior.

    Args:
      mean: codes, or the means of their distributions.
      log_variance: of these distributions, or None.
      prior_variance: the unit of `code_covariance_gap`.
    """
    codes = mean.astype(np.float64)
    covariance = np.cov(codes.T, bias=True).reshape(codes.shape[1], -1)
    if log_variance is not None:
        # The covariance of random codes is that of their means plus the mean of their own.
        covariance = covariance + np.diag(np.exp(log_variance.astype(np.float64)).mean(axis=0))
    gap = covariance / prior_variance - np.eye(len(covariance))
    return {
        "code_mean_gap": float(np.sqrt(np.mean(codes.mean(axis=0) ** 2))),
        "code_covariance_gap": float(np.sqrt(np.mean(gap**2))),
    }


def metric_names(config: Config, *, num_train: int, num_valid: int) -> list[str]:
    """The names of the metrics of `make_evaluate`'s function, for splits of these sizes."""
    codes = jax.ShapeDtypeStruct((2, config.model.z_dim), jnp.float32)
    log_variance = codes if config.model.encoder == "gaussian" else None
    penalty = make_penalty(config.objective, config.discriminator, latent_dim=config.model.z_dim, dtype=config.dtype)
    params = jax.eval_shape(penalty.init, jax.random.key(config.seed))
    latent = jax.eval_shape(make_latent_metrics(config), params, codes, log_variance)
    always = ("reconstruction", *CellScores._fields, "cells", "code_mean_gap", "code_covariance_gap")
    sizes = {
        "eval": min(config.eval.num_phrases, num_valid),
        "eval_train": min(config.eval.num_train_phrases, num_train),
    }
    return [
        f"{prefix}/{name}"
        for prefix, size in sizes.items()
        if size
        for name in (*always, *(latent if size > 1 else ()))
    ]


def make_evaluate(
    config: Config,
    *,
    train_rows: UInt8[np.ndarray, "train bytes=10080"],
    valid_rows: UInt8[np.ndarray, "valid bytes=10080"],
) -> Callable[[TrainState], dict[str, float]]:
    """Returns a function that evaluates a state on the subsets of the data that `config.eval` names.

    Returns:
      A function of a replicated state to metrics such as `eval/reconstruction` and `eval_train/reconstruction`, to be
      called by all processes.
    """
    step = parallel_step(make_evaluate_step(config))
    latent_metrics = make_latent_metrics(config)
    subsets = {
        "eval": valid_rows[: config.eval.num_phrases],
        "eval_train": train_rows[: config.eval.num_train_phrases],
    }
    pipelines = {
        prefix: InputPipeline(rows, batch_size=config.batch_size) for prefix, rows in subsets.items() if len(rows)
    }

    def evaluate_subset(state: TrainState, pipeline: InputPipeline, num_phrases: int) -> dict[str, float]:
        batches: list[Evaluated] = jax.device_get([step(state, batch) for batch in pipeline.evaluation_batches()])
        mean = np.concatenate([batch.mean for batch in batches])[:num_phrases]
        log_variance = None
        if batches[0].log_variance is not None:
            log_variance = np.concatenate([batch.log_variance for batch in batches])[:num_phrases]
        metrics = reconstruction_metrics(batches, num_phrases=num_phrases)
        metrics |= moment_metrics(mean, log_variance, prior_variance=config.objective.prior_variance)
        if num_phrases > 1:  # one code has no distance to a distribution
            latent = latent_metrics(state.discriminator.params, mean, log_variance)
            metrics |= {name: float(value) for name, value in latent.items()}
        return metrics

    def evaluate(state: TrainState) -> dict[str, float]:
        return {
            f"{prefix}/{name}": value
            for prefix, pipeline in pipelines.items()
            for name, value in evaluate_subset(state, pipeline, len(subsets[prefix])).items()
        }

    return evaluate
