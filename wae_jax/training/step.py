"""One step of both players under `pmap`, and the step that evaluates.

The step computes what a single device would compute on the whole batch: batch statistics are those of the mapped axis,
a kernel penalty compares each device's codes with those of all, and whatever is random comes from a key of the phrase's
place in the global batch. `jax.grad` inside `pmap` gives the derivative of the sum of all devices' losses; the mean of
that over devices is the gradient of the global objective, whether a term is a mean over local phrases or a scalar that
every device computes alike from gathered codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Float32, Int, Int32, Integer, Key, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.config import Config
from wae_jax.metrics.reconstruction import CellCounts, cell_scores, count_cells
from wae_jax.models import binary_neurons
from wae_jax.models.autoencoder import draw_codes, make_autoencoder
from wae_jax.models.refiner import make_refine
from wae_jax.objective import divergences
from wae_jax.objective.prior import moment_gap, sample_prior
from wae_jax.objective.reconstruction import make_cost, squared_error
from wae_jax.pianoroll import Codes, device
from wae_jax.pianoroll.note_planes import cell_logits
from wae_jax.training.latent_penalties import Figures, WholeBatch
from wae_jax.training.state import (
    Player,
    TrainState,
    make_autoencoder_optimizer,
    make_autoencoder_schedule,
    make_optimizer,
    make_penalty,
)

BATCH_AXIS = "batch"

Metrics = dict[str, Float[Array, ""]]


class Batch(NamedTuple):
    """One device's share of a global batch of B phrases.

    Attributes:
      packed: the phrases.
      position: places within the global batch.
      weight: 0 marks phrases that only fill the last batch of an evaluation.
    """

    packed: UInt8[AnyArray, "b bytes=10080"]
    position: Int32[AnyArray, " b"]
    weight: Float32[AnyArray, " b"]


class ExampleKeys(NamedTuple):
    """One random key a phrase for each use."""

    prior: Key[Array, " b"]
    encoder: Key[Array, " b"]
    decoder: Key[Array, " b"]
    augmentation: Key[Array, " b"]
    noise: Key[Array, " b"]
    neurons: Key[Array, " b"]


def example_keys(seed: int, step: Int[Array, ""], position: Integer[AnyArray, " b"]) -> ExampleKeys:
    """Keys that depend on the seed, the step and the place in the global batch, and on nothing else."""
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    example = jax.vmap(lambda i: jax.random.fold_in(step_key, i))(position)
    keys = jax.vmap(lambda key: jax.random.split(key, 4))(example)
    # Not a fifth and a sixth part: runs of before there were these uses must keep the four that they had.
    prior, encoder, decoder, augmentation = keys.T
    noise, neurons = (jax.vmap(lambda key, use=use: jax.random.fold_in(key, use))(example) for use in (4, 5))
    return ExampleKeys(prior, encoder, decoder, augmentation, noise, neurons)


def shared_key(seed: int, step: Int[Array, ""]) -> Key[Array, ""]:
    """A key for what all phrases of a step have in common; it is no phrase's."""
    no_position = np.uint32(2**32 - 1)
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), no_position)


def augment(
    x: Float[Array, "b T=192 P=84 K=5"], keys: Key[Array, " b"], max_semitones: int
) -> Float[Array, "b T=192 P=84 K=5"]:
    """Transposes the non-drum tracks of each phrase by its own random number of semitones, up to either way."""
    if not max_semitones:
        return x
    semitones = jax.vmap(lambda key: jax.random.randint(key, (), -max_semitones, max_semitones + 1))(keys)
    return device.transpose_pitched(x, semitones)


def _gather(z: Float[AnyArray, "b Z"]) -> Float[Array, "B Z"]:
    return lax.all_gather(z, BATCH_AXIS, tiled=True)


def _mean_over_devices(tree: Any) -> Any:
    """`lax.pmean` in one message in place of one a leaf: between processes each has its price."""
    flat, unravel = jax.flatten_util.ravel_pytree(tree)
    return unravel(lax.pmean(flat, BATCH_AXIS))


def make_train_step(
    config: Config, *, num_train_steps: int
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The training step, to be mapped over `BATCH_AXIS` with the state unmapped.

    Args:
      config: the run's configuration.
      num_train_steps: for the schedules.

    Returns:
      (state, batch) to the next state and `train/*` metrics of the global batch, alike on all devices.
    """
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype, axis_name=BATCH_AXIS)
    refine = make_refine(model, first_step=config.refiner.first_step)
    cell_values = binary_neurons.make_cell_values(config.objective.binary_neurons)
    cost = make_cost(config.objective.cost)
    penalty = make_penalty(config)
    autoencoder_tx = make_autoencoder_optimizer(config, num_train_steps=num_train_steps)
    discriminator_tx = make_optimizer(config.discriminator_optimizer, num_train_steps=num_train_steps)
    learning_rate = make_autoencoder_schedule(config, num_train_steps=num_train_steps)

    def penalty_weight(state: TrainState) -> Float[Array, ""]:
        weight = adapted_weight(state, initial=config.objective.penalty_weight)
        return weight * jnp.minimum(1.0, (state.step + 1) / max(config.objective.penalty_warmup_steps, 1))

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        keys = example_keys(config.seed, state.step, batch.position)
        x = augment(device.unpack_on_device(batch.packed), keys.augmentation, config.data.transpose_semitones)
        z_prior = sample_prior(
            keys.prior, latent_dim=config.model.z_dim, prior_variance=config.objective.prior_variance
        )
        weight = penalty_weight(state)
        values = cell_values(keys.neurons, state.step)

        def autoencoder_loss(params: Any) -> tuple[Float[Array, ""], tuple[Float[Array, "b Z"], Any, Metrics]]:
            (encoded, outputs), updated = model.apply(
                {"params": params, "batch_stats": state.autoencoder.batch_stats},
                x,
                encoder_keys=keys.encoder,
                decoder_keys=keys.decoder,
                noise_keys=keys.noise,
                refined=False,
                mutable=["batch_stats"],
                method="autoencode",
            )
            outputs, batch_stats = refine(params, updated.get("batch_stats", {}), outputs, state.step)
            z = encoded.z
            mean_cost = jnp.mean(cost(x, outputs, values))
            whole = WholeBatch(_gather, lax.axis_index(BATCH_AXIS) * len(z), shared_key(config.seed, state.step))
            divergence = penalty.penalty(state.discriminator.params, encoded, z_prior, whole)
            loss = config.objective.reconstruction_weight * mean_cost + weight * divergence
            # Whatever the cost, so that runs compare.
            x_hat = jax.nn.sigmoid(cell_logits(outputs))
            reconstruction = jnp.mean(squared_error(x, x_hat))
            metrics = {"reconstruction": reconstruction, "cost": mean_cost, "penalty": divergence}
            if encoded.log_variance is not None:
                metrics["log_variance_penalty"] = jnp.mean(divergences.log_variance_penalty(encoded.log_variance))
                loss += config.objective.log_variance_penalty_weight * metrics["log_variance_penalty"]
            metrics["loss"] = loss
            if config.objective.pretrain_steps:
                gap = moment_gap(_gather(z), _gather(z_prior))
                loss = jnp.where(state.step < config.objective.pretrain_steps, gap, loss)
                metrics["moment_gap"] = gap
            return loss, (z, batch_stats, metrics)

        def discriminator_loss(params: Any, z: Float[Array, "b Z"]) -> Float[Array, ""]:
            return weight * penalty.player_loss(params, z, z_prior)

        gradients, (z, batch_stats, metrics) = jax.grad(autoencoder_loss, has_aux=True)(state.autoencoder.params)
        discriminator_gradients = jax.grad(discriminator_loss)(state.discriminator.params, z)
        metrics |= penalty.metrics(state.discriminator.params, z, z_prior)
        gradients, discriminator_gradients, metrics = _mean_over_devices((gradients, discriminator_gradients, metrics))
        metrics |= {
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(learning_rate(state.step), jnp.float32),
            "penalty_weight": weight,
        }
        autoencoder = _descend(state.autoencoder, gradients, autoencoder_tx, batch_stats)
        objective_terms = {
            "reconstruction": config.objective.reconstruction_weight * metrics["cost"],
            "penalty": metrics["penalty"],
        }
        averages = _average_terms(state.discriminator.batch_stats, objective_terms)
        new_state = TrainState(
            step=state.step + 1,
            autoencoder=autoencoder,
            discriminator=_descend(state.discriminator, discriminator_gradients, discriminator_tx, averages),
            ema_params=_average(state.ema_params, autoencoder.params, state.step, config),
        )
        return new_state, {f"train/{name}": value for name, value in metrics.items()}

    return train_step


def adapted_weight(state: TrainState, *, initial: float) -> Float[Array, ""] | float:
    """The penalty's weight before warm-up: `initial`, or what makes both terms of the objective equally large.

    Where it adapts, it is the ratio of two moving averages over the steps done: of reconstruction_weight times the
    cost, and of the penalty, by its absolute value. Both keep .99 of themselves at a step and start at 0, so that
    their ratio owes nothing to the start. It is `initial` at the first step and stays within a factor of 100 of it
    either way: as a penalty approaches 0, its weight would otherwise leave nothing of the reconstruction. This is a
    rule of this project, in the spirit of the adaptive lambda of tolstikhin/wae.
    """
    averages = state.discriminator.batch_stats
    if not averages:
        return initial
    reconstruction, penalty = averages["reconstruction"], jnp.abs(averages["penalty"])
    ratio = reconstruction / jnp.maximum(penalty, reconstruction / (100.0 * initial) + jnp.finfo(penalty.dtype).tiny)
    return jnp.where(state.step == 0, initial, jnp.maximum(ratio, 0.01 * initial)).astype(reconstruction.dtype)


def _average_terms(averages: Any, terms: Metrics) -> Any:
    return {name: 0.99 * average + 0.01 * terms[name] for name, average in averages.items()}


def _descend(player: Player, gradients: Any, tx: optax.GradientTransformation, batch_stats: Any) -> Player:
    updates, opt_state = tx.update(gradients, player.opt_state, player.params)
    return Player(optax.apply_updates(player.params, updates), batch_stats, opt_state)


def _average(averages: Any, params: Any, step: Int[Array, ""], config: Config) -> Any:
    def averaged(name: str) -> Any:
        # A young average must not remember the initial values for 1 / (1 - decay) steps; a late refiner's begins late.
        age = jnp.maximum(step - config.refiner.first_step, 0) if name == "refiner" else step
        rate = 1.0 - jnp.minimum(config.ema_decay, (1.0 + age) / (10.0 + age))
        return optax.incremental_update(params[name], averages[name], rate)

    return {name: averaged(name) for name in averages}


class Evaluated(NamedTuple):
    """What one global batch adds to an evaluation.

    Attributes:
      reconstruction: sum of ||x - x_hat||^2 over the phrases that count.
      cells: `CellCounts`, summed likewise.
      z: the codes of the whole batch, in its order; means, where the encoder is random, as in the reconstructions.
      log_variance: of a Gaussian encoder, else None.
    """

    reconstruction: Float[AnyArray, ""]
    cells: CellCounts
    z: Float[AnyArray, "B Z"]
    log_variance: Float[AnyArray, "B Z"] | None = None


def make_evaluate_step(config: Config) -> Callable[[TrainState, Batch], Evaluated]:
    """The evaluation step, to be mapped over `BATCH_AXIS` with the state unmapped."""
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype)

    def evaluate_step(state: TrainState, batch: Batch) -> Evaluated:
        x = device.unpack_on_device(batch.packed)
        encoded, outputs = model.apply(state.evaluation_variables(), x, method="autoencode")
        x_hat = jax.nn.sigmoid(cell_logits(jnp.asarray(outputs)))
        reconstruction, cells = lax.psum(
            (
                jnp.sum(batch.weight * squared_error(x, x_hat)),
                CellCounts(
                    *(jnp.sum(batch.weight * count) for count in count_cells(x, x_hat, threshold=config.eval.threshold))
                ),
            ),
            BATCH_AXIS,
        )
        log_variance = None if encoded.log_variance is None else _gather(encoded.log_variance)
        return Evaluated(reconstruction, cells, _gather(encoded.mean), log_variance)

    return evaluate_step


def make_latent_figures(config: Config) -> Callable[[Any, Codes, Codes | None], Figures]:
    """A function of the discriminator's params and at least two codes to the penalty and what belongs to it.

    The codes are means, with the log variances of a Gaussian encoder or None. Where there are such, a draw of each
    code's distribution is compared with the prior: it is these draws that training holds to it.

    All codes of a subset at once: neighbouring phrases are often of one song, so that a mean over batches of neighbours
    would tell how songs differ, and not how the codes differ from the prior. The prior draws depend on the seed alone,
    so that evaluations at different steps compare.
    """
    penalty = make_penalty(config)

    @jax.jit
    def latent_figures(
        params: Any, mean: Float[Array, "n Z"], log_variance: Float[Array, "n Z"] | None = None
    ) -> Figures:
        # A step before the first, so that no evaluation shares its draws with a training step.
        keys = example_keys(config.seed, jnp.int32(-1), jnp.arange(len(mean)))
        z_prior = sample_prior(
            keys.prior, latent_dim=config.model.z_dim, prior_variance=config.objective.prior_variance
        )
        encoded = draw_codes(mean, log_variance, keys.noise)
        return penalty.evaluate(params, encoded, z_prior, shared_key(config.seed, jnp.int32(-1)))

    return latent_figures


def summarize(batches: Sequence[Evaluated], *, num_phrases: int, prior_variance: float) -> dict[str, float]:
    """Turns the batches of an evaluation into figures.

    `reconstruction` is ||x - x_hat||^2 a phrase; `precision`, `recall` and `f1` are over all cells together;
    `code_mean_gap` and `code_covariance_gap` are root mean square differences between the codes' moments and the
    prior's, the latter in units of the prior's variance.

    Args:
      batches: of NumPy arrays, in order.
      num_phrases: how many phrases count: the first so many.
      prior_variance: of the prior.
    """
    counts = [sum(map(float, counts)) for counts in zip(*(b.cells for b in batches), strict=True)]
    scores = {name: float(score) for name, score in cell_scores(*counts)._asdict().items()}
    codes = codes_of(batches, num_phrases).astype(np.float64)
    covariance = np.cov(codes.T, bias=True).reshape(codes.shape[1], -1)
    if (log_variance := log_variances_of(batches, num_phrases)) is not None:
        # The covariance of random codes is that of their means and the mean of their own.
        covariance = covariance + np.diag(np.exp(log_variance.astype(np.float64)).mean(axis=0))
    gap = covariance / prior_variance - np.eye(len(covariance))
    return {
        "reconstruction": sum(float(batch.reconstruction) for batch in batches) / num_phrases,
        **scores,
        "cells": counts[1] / num_phrases,
        "code_mean_gap": float(np.sqrt(np.mean(codes.mean(axis=0) ** 2))),
        "code_covariance_gap": float(np.sqrt(np.mean(gap**2))),
    }


def codes_of(batches: Sequence[Evaluated], num_phrases: int) -> Float[np.ndarray, "{num_phrases} Z"]:
    """The codes of an evaluation's phrases, without those that fill the last batch."""
    return np.concatenate([batch.z for batch in batches])[:num_phrases]


def log_variances_of(batches: Sequence[Evaluated], num_phrases: int) -> Float[np.ndarray, "{num_phrases} Z"] | None:
    """Those of the codes of `codes_of`, or None where the encoder is not Gaussian."""
    if batches[0].log_variance is None:
        return None
    return np.concatenate([batch.log_variance for batch in batches])[:num_phrases]
