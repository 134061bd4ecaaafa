"""The state that a run carries from step to step, and how it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

from wae_jax.config import Config
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.models.modules import full_precision
from wae_jax.pianoroll import NUM_TRACKS, PHRASE_SHAPE
from wae_jax.training.latent_penalties import make_penalty
from wae_jax.training.learned_prior import KernelDensity, normal
from wae_jax.training.optimizers import make_optimizers

_UNOPTIMIZED = {"xla_backend_optimization_level": 0}


# The leaves of both classes are arrays, or what jax puts in their stead: shapes, axes, shardings.
@flax.struct.dataclass
class ModelState:
    """The state of one trained network.

    Attributes:
      params: its parameters.
      batch_stats: moving averages of its batch normalization, {} without any.
      opt_state: of its optimizer.
    """

    params: Any
    batch_stats: Any
    opt_state: Any

    def descend(self, gradients: Any, tx: optax.GradientTransformation, batch_stats: Any) -> ModelState:
        """The state after one step of the optimizer `tx`, with new batch statistics."""
        updates, opt_state = tx.update(gradients, self.opt_state, self.params)
        return ModelState(optax.apply_updates(self.params, updates), batch_stats, opt_state)


@flax.struct.dataclass
class TrainState:
    """The state of a run after `step` steps.

    Attributes:
      step: int32 scalar.
      autoencoder: encoder and decoder.
      discriminator: the latent discriminator; its params are {} if the penalty has none.
      ema_params: exponential moving average of the autoencoder's parameters; {} unless configured.
      learned_prior: the density that codes are sampled from, as of the last evaluation or checkpoint; {} unless
        configured. Steps leave it as it is.
    """

    step: Any
    autoencoder: ModelState
    discriminator: ModelState
    ema_params: Any
    learned_prior: Any

    def evaluation_variables(self) -> dict[str, Any]:
        """The autoencoder's variables for evaluation and sampling, with averaged parameters if there are any."""
        return {
            "params": self.ema_params or self.autoencoder.params,
            "batch_stats": self.autoencoder.batch_stats,
        }

    def kernel_density(self) -> KernelDensity | None:
        """The learned prior of a state on the host; None unless configured."""
        return self.learned_prior.unpadded() if self.learned_prior else None


def create_train_state(
    config: Config,
    *,
    track_densities: tuple[float, ...],
    num_train_steps: int,
) -> TrainState:
    """Creates the state before the first step, on the default device. Not to be traced.

    Args:
      config: of the run; `config.seed` decides all random numbers.
      track_densities: share of active cells in the training data, one number a track.
      num_train_steps: length of the run, for the learning-rate schedules.
    """
    create = _make_create(config, track_densities=track_densities, num_train_steps=num_train_steps)
    # One program in place of some hundred small ones, each of which would be compiled at every start. It runs once, and
    # on CPUs its random numbers take 8 s to compile with optimization, 2 s without.
    options = _UNOPTIMIZED if jax.default_backend() == "cpu" else None
    return jax.jit(create, compiler_options=options)(jax.random.key(config.seed))


def train_state_shapes(config: Config) -> TrainState:
    """The shapes and types of a run's state, without computing it: leaves are `jax.ShapeDtypeStruct`."""
    create = _make_create(config, track_densities=(0.5,) * NUM_TRACKS, num_train_steps=1)
    return jax.eval_shape(create, jax.random.key(config.seed))


def _make_create(
    config: Config, *, track_densities: tuple[float, ...], num_train_steps: int
) -> Callable[[Key[Array, ""]], TrainState]:
    """Returns the function from a random key to the state before the first step."""
    # Without the mapped axis: the parameters are the same, and there is no such axis outside of pmap.
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype, track_densities=track_densities)
    penalty = make_penalty(config.objective, config.discriminator, latent_dim=config.model.z_dim, dtype=config.dtype)
    autoencoder_tx, discriminator_tx = make_optimizers(config, num_train_steps=num_train_steps)
    # flax creates batch statistics as float32 and updates them in the type of the parameters; a state whose types
    # changed at the first step could not be restored into this one.
    dtype = full_precision(config.dtype)

    is_learned = config.prior == "kernel_density"
    density: Any = normal(config.model.z_dim, config.objective.prior_variance).padded() if is_learned else {}

    def create(key: Key[Array, ""]) -> TrainState:
        autoencoder_key, penalty_key = jax.random.split(key)
        variables = model.init(autoencoder_key, jnp.zeros((1, *PHRASE_SHAPE)))
        params = variables["params"]
        batch_stats = jax.tree.map(lambda leaf: leaf.astype(dtype), variables.get("batch_stats", {}))
        discriminator_params = penalty.init(penalty_key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            autoencoder=ModelState(params, batch_stats, autoencoder_tx.init(params)),
            discriminator=ModelState(discriminator_params, {}, discriminator_tx.init(discriminator_params)),
            ema_params=jax.tree.map(jnp.copy, params) if config.ema_decay else {},
            learned_prior=jax.tree.map(
                lambda leaf: jnp.asarray(leaf, dtype if leaf.dtype == np.float64 else leaf.dtype), density
            ),
        )

    return create
