"""The training step of autoencoder and discriminator, to be mapped over devices with `pmap`.

It computes what one device would compute on the whole batch: batch statistics are taken over the mapped axis, a kernel
penalty compares each device's codes with those of all devices, and random numbers come from a key for each phrase of
the global batch. `jax.grad` inside `pmap` gives the derivative of the sum of all devices' losses; its mean over devices
is the gradient of the global objective, for a mean over local phrases as for a scalar that every device computes from
gathered codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.config import Config, ObjectiveSpec
from wae_jax.data.pipeline import BATCH_AXIS, Batch
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.models.binary_neurons import make_cell_values
from wae_jax.models.encoder_decoder import Encoded, Logits
from wae_jax.objective.divergences import log_variance_penalty
from wae_jax.objective.prior import moment_gap, sample_prior
from wae_jax.objective.reconstruction import make_cost, squared_error
from wae_jax.pianoroll import device
from wae_jax.training.latent_penalties import GlobalBatch, LatentPenalty, make_penalty
from wae_jax.training.optimizers import make_optimizers, make_schedule
from wae_jax.training.random_keys import ExampleKeys, example_keys, shared_key
from wae_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]
Codes = Float[AnyArray, "b Z"]


def augment(
    x: Float[Array, "b T=192 P=84 K=5"], keys: Key[Array, " b"], max_semitones: int
) -> Float[Array, "b T=192 P=84 K=5"]:
    """Transposes each phrase's pitched tracks by a random number of semitones, at most `max_semitones` either way."""
    if not max_semitones:
        return x
    semitones = jax.vmap(lambda key: jax.random.randint(key, (), -max_semitones, max_semitones + 1))(keys)
    return device.transpose_pitched(x, semitones)


def gather(z: Float[AnyArray, "b Z"]) -> Float[Array, "B Z"]:
    """Codes, or samples of the prior, of all devices, in the order of the global batch."""
    return lax.all_gather(z, BATCH_AXIS, tiled=True)


def mean_over_devices(tree: Any) -> Any:
    """`lax.pmean` of all leaves as one array: between processes on CPUs, each message costs milliseconds."""
    flat, unravel = jax.flatten_util.ravel_pytree(tree)
    return unravel(lax.pmean(flat, BATCH_AXIS))


class Terms(NamedTuple):
    """The terms of the autoencoder's objective on one device, neither reduced nor weighted.

    Attributes:
      cost: c(x, x_hat), summed over the cells of each phrase.
      reconstruction: ||x - x_hat||^2 of each phrase: not part of the loss, but comparable between costs.
      penalty: D(Q_z, P_z); its mean over devices is the penalty of the global batch.
      log_variance_penalty: of each phrase; None unless the encoder is Gaussian.
      moment_gap: loss of the pretraining, of the global batch; None without pretraining.
    """

    cost: Float[Array, " b"]
    reconstruction: Float[Array, " b"]
    penalty: Float[Array, ""]
    log_variance_penalty: Float[Array, " b"] | None
    moment_gap: Float[Array, ""] | None


def reduce_terms(terms: Terms, spec: ObjectiveSpec, *, step: Int[Array, ""]) -> tuple[Float[Array, ""], Metrics]:
    """The autoencoder's loss, a weighted sum of means (the moment gap while pretraining), and metrics by name."""
    metrics = {
        "reconstruction": jnp.mean(terms.reconstruction),
        "cost": jnp.mean(terms.cost),
        "penalty": terms.penalty,
    }
    loss = spec.reconstruction_weight * metrics["cost"] + spec.penalty_weight * terms.penalty
    if terms.log_variance_penalty is not None:
        metrics["log_variance_penalty"] = jnp.mean(terms.log_variance_penalty)
        loss += spec.log_variance_penalty_weight * metrics["log_variance_penalty"]
    if terms.moment_gap is not None:
        metrics["moment_gap"] = terms.moment_gap
        loss = jnp.where(step < spec.pretrain_steps, terms.moment_gap, loss)
    return loss, metrics


def make_objective_terms(config: Config, penalty: LatentPenalty) -> Callable[..., tuple[Terms, Codes, Any]]:
    """Returns a function that runs the autoencoder and computes the terms of its objective.

    Returns:
      A function of the autoencoder's params and, as constants, the state, phrases x, samples of the prior, keys and
      the global batch; to the terms, the codes and the new batch statistics.
    """
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype, axis_name=BATCH_AXIS)
    make_values = make_cell_values(config.objective.binary_neurons)
    cost = make_cost(config.objective.cost)

    def objective_terms(
        params: Any,
        state: TrainState,
        x: Float[Array, "b T P K"],
        z_prior: Float[Array, "b Z"],
        keys: ExampleKeys,
        batch: GlobalBatch,
    ) -> tuple[Terms, Codes, Any]:
        encoded: Encoded
        logits: Logits
        (encoded, logits), updated = model.apply(
            {"params": params, "batch_stats": state.autoencoder.batch_stats},
            x,
            encoder_keys=keys.encoder,
            decoder_keys=keys.decoder,
            noise_keys=keys.noise,
            mutable=["batch_stats"],
            method="autoencode",
        )
        z, log_variance = encoded.z, encoded.log_variance
        found = Terms(
            cost=cost(x, logits, make_values(keys.neurons, state.step)),
            reconstruction=squared_error(x, jax.nn.sigmoid(logits)),
            penalty=penalty.penalty(state.discriminator.params, encoded, z_prior, batch),
            log_variance_penalty=None if log_variance is None else log_variance_penalty(log_variance),
            moment_gap=moment_gap(gather(z), gather(z_prior)) if config.objective.pretrain_steps else None,
        )
        return found, z, updated.get("batch_stats", {})

    return objective_terms


def make_train_step(
    config: Config, *, num_train_steps: int
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Returns the training step, to be mapped over `BATCH_AXIS` with the state unmapped.

    Args:
      config: of the run.
      num_train_steps: length of the run, for the learning-rate schedules.

    Returns:
      A function of state and batch to the next state and the `train/*` metrics of the global batch.
    """
    objective = config.objective
    penalty = make_penalty(objective, config.discriminator, latent_dim=config.model.z_dim, dtype=config.dtype)
    objective_terms = make_objective_terms(config, penalty)
    autoencoder_tx, discriminator_tx = make_optimizers(config, num_train_steps=num_train_steps)
    learning_rate = make_schedule(config.autoencoder_optimizer, num_train_steps=num_train_steps)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        keys = example_keys(config.seed, state.step, batch.position)
        x = augment(device.unpack_on_device(batch.packed), keys.augmentation, config.data.transpose_semitones)
        z_prior = sample_prior(keys.prior, latent_dim=config.model.z_dim, prior_variance=objective.prior_variance)
        whole = GlobalBatch(gather, lax.axis_index(BATCH_AXIS) * len(x), shared_key(config.seed, state.step))

        def autoencoder_loss(params: Any) -> tuple[Float[Array, ""], tuple[Codes, Any, Metrics]]:
            found, z, batch_stats = objective_terms(params, state, x, z_prior, keys, whole)
            loss, metrics = reduce_terms(found, objective, step=state.step)
            return loss, (z, batch_stats, metrics)

        def discriminator_loss(params: Any) -> tuple[Float[Array, ""], Any]:
            loss, metrics = penalty.discriminator_loss(params, z, z_prior)
            return objective.penalty_weight * loss, metrics

        (loss, (z, batch_stats, metrics)), gradients = jax.value_and_grad(autoencoder_loss, has_aux=True)(
            state.autoencoder.params
        )
        (_, more), discriminator_gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
            state.discriminator.params
        )
        gradients, discriminator_gradients, metrics = mean_over_devices(
            (gradients, discriminator_gradients, {**metrics, **more, "loss": loss})
        )
        autoencoder = state.autoencoder.descend(gradients, autoencoder_tx, batch_stats)
        new_state = TrainState(
            step=state.step + 1,
            autoencoder=autoencoder,
            discriminator=state.discriminator.descend(discriminator_gradients, discriminator_tx, {}),
            ema_params=_average_params(state.ema_params, autoencoder.params, state.step, config.ema_decay),
            learned_prior=state.learned_prior,
        )
        metrics |= {
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(learning_rate(state.step), jnp.float32),
        }
        return new_state, {f"train/{name}": value for name, value in metrics.items()}

    return train_step


def _average_params(averages: Any, params: Any, step: Int[Array, ""], decay: float) -> Any:
    if not averages:
        return averages
    # A young average must not remember the initial values for 1 / (1 - decay) steps.
    return optax.incremental_update(params, averages, 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step)))
