"""All that a training run carries from step to step, and how it begins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from wae_jax.config import Config, OptimizerSpec
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.models.modules import full_precision
from wae_jax.objective.prior import prior_log_density
from wae_jax.pianoroll import PHRASE_SHAPE
from wae_jax.training import latent_penalties
from wae_jax.training.latent_penalties import LatentPenalty

_UNOPTIMIZED = {"xla_backend_optimization_level": 0}


# The leaves of both are arrays, or what jax puts in the place of arrays: shapes, axes, shardings.
@flax.struct.dataclass
class Player:
    """One of the two players: its parameters, its moving batch statistics if it has any, its optimizer's state."""

    params: Any
    batch_stats: Any
    opt_state: Any


@flax.struct.dataclass
class TrainState:
    """The state of a run after `step` steps.

    Attributes:
      step: int32 scalar.
      autoencoder: encoder and decoder.
      discriminator: the latent discriminator; params are empty where the penalty has no player. In the place of batch
        statistics are the averages of an adaptive penalty weight (`train_step.adapted_weight`), empty unless
        configured: in a field of their own they would keep checkpoints of before from being restored.
      ema_params: exponential moving average of the autoencoder's parameters; empty unless configured.
    """

    step: Any
    autoencoder: Player
    discriminator: Player
    ema_params: Any

    def evaluation_variables(self) -> dict[str, Any]:
        """The autoencoder's variables for evaluation and sampling: averaged parameters where there are any."""
        return {
            "params": self.ema_params or self.autoencoder.params,
            "batch_stats": self.autoencoder.batch_stats,
        }


def make_penalty(config: Config) -> LatentPenalty:
    """The latent penalty that a config names."""
    variance, latent_dim = config.objective.prior_variance, config.model.z_dim
    log_prior = functools.partial(prior_log_density, prior_variance=variance)
    makers: dict[str, Callable[[], LatentPenalty]] = {
        "gan": lambda: latent_penalties.adversarial_penalty(
            latent_dim=latent_dim,
            widths=tuple(config.discriminator.widths),
            dtype=full_precision(jnp.dtype(config.dtype)),
            log_prior=log_prior if config.discriminator.prior_logit else None,
        ),
        "mmd": lambda: latent_penalties.mmd_penalty(kernel=config.objective.mmd_kernel, prior_variance=variance),
        "sliced_wasserstein": lambda: latent_penalties.sliced_wasserstein_penalty(
            num_projections=config.objective.sliced_num_projections, latent_dim=latent_dim
        ),
        "cramer_wold": lambda: latent_penalties.cramer_wold_penalty(
            prior_variance=variance, is_log=config.objective.cramer_wold_log
        ),
        "kl": lambda: latent_penalties.kl_penalty(prior_variance=variance),
        # The expected squared distance of two draws of the prior is the unit.
        "sinkhorn": lambda: latent_penalties.sinkhorn_penalty(
            epsilon=config.objective.sinkhorn_epsilon * 2.0 * latent_dim * variance
        ),
        "none": latent_penalties.no_penalty,
    }
    return makers[config.objective.penalty]()


def make_optimizer(config: OptimizerSpec, *, num_train_steps: int) -> optax.GradientTransformation:
    """Adam with the learning-rate schedule of one player.

    Args:
      config: `config.autoencoder_optimizer` or `config.discriminator_optimizer`.
      num_train_steps: where a cosine schedule ends.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.adam(make_schedule(config, num_train_steps=num_train_steps), b1=config.b1, b2=config.b2, eps=config.eps),
    )


def make_autoencoder_optimizer(config: Config, *, num_train_steps: int) -> optax.GradientTransformation:
    """That of `config.autoencoder_optimizer` for all parameters, or for those that are trained at a step.

    Where the refiner has a stage of its own, from `config.refiner.first_step` on, encoder and decoder are trained up to
    it as in a run that ends there, and the refiner from it on as in a run that begins there; what is not trained stays
    as it is.

    Args:
      config: the run's configuration.
      num_train_steps: where a cosine schedule ends.
    """
    first_step = config.refiner.first_step
    if not first_step:
        return make_optimizer(config.autoencoder_optimizer, num_train_steps=num_train_steps)
    before = make_optimizer(config.autoencoder_optimizer, num_train_steps=first_step)
    after = make_optimizer(config.autoencoder_optimizer, num_train_steps=num_train_steps - first_step)
    return optax.partition(
        {
            "base": optax.conditionally_mask(before, lambda step: step < first_step),
            "refiner": optax.conditionally_mask(after, lambda step: step >= first_step),
        },
        lambda params: {name: "refiner" if name == "refiner" else "base" for name in params},
    )


def make_autoencoder_schedule(config: Config, *, num_train_steps: int) -> Callable[[Any], Any]:
    """The learning rate by step of what is trained then; see `make_autoencoder_optimizer`."""
    optimizer, first_step = config.autoencoder_optimizer, config.refiner.first_step
    if not first_step:
        return make_schedule(optimizer, num_train_steps=num_train_steps)
    stages = [make_schedule(optimizer, num_train_steps=steps) for steps in (first_step, num_train_steps - first_step)]
    return optax.join_schedules(stages, [first_step])


def make_schedule(config: OptimizerSpec, *, num_train_steps: int) -> Callable[[Any], Any]:
    """The learning rate by step: linear warm-up to `learning_rate`, then as `schedule` says."""
    after = max(num_train_steps - config.warmup_steps, 1)
    schedule = {
        "constant": lambda: optax.constant_schedule(config.learning_rate),
        "exponential": lambda: optax.exponential_decay(config.learning_rate, config.decay_steps, config.decay_rate),
        "cosine": lambda: optax.cosine_decay_schedule(config.learning_rate, after),
    }[config.schedule]()
    if not config.warmup_steps:
        return schedule
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, schedule], [config.warmup_steps])


def create_train_state(
    config: Config,
    *,
    track_densities: tuple[float, ...],
    num_train_steps: int,
) -> TrainState:
    """The state before the first step, on the default device; a pure function of its arguments, but not to be traced.

    Args:
      config: the run's configuration; `config.seed` seeds all of it.
      track_densities: share of cells that are on in the training data, one a track.
      num_train_steps: for the schedules.
    """
    # Without the mapped axis: the parameters are the same, and there is no axis outside of pmap.
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype, track_densities=track_densities)
    penalty = make_penalty(config)
    autoencoder_tx = make_autoencoder_optimizer(config, num_train_steps=num_train_steps)
    discriminator_tx = make_optimizer(config.discriminator_optimizer, num_train_steps=num_train_steps)
    # flax starts batch statistics as float32, whatever the parameters are, and updates them in the parameters' type: a
    # state that changed its types at the first step could not be restored into the one made here.
    statistics_dtype = full_precision(jnp.dtype(config.dtype))

    # One program in place of some hundred small ones, each of which would be compiled at every start. It runs once, and
    # on CPUs its random numbers take 8 s to compile and optimise, 2 s without the latter.
    @functools.partial(jax.jit, compiler_options=_UNOPTIMIZED if jax.default_backend() == "cpu" else None)
    def create(key: Key[Array, ""]) -> TrainState:
        autoencoder_key, penalty_key = jax.random.split(key)
        variables = model.init(autoencoder_key, jnp.zeros((1, *PHRASE_SHAPE)))
        params = variables["params"]
        batch_stats = jax.tree.map(lambda leaf: leaf.astype(statistics_dtype), variables.get("batch_stats", {}))
        penalty_params = penalty.init(penalty_key)
        # Of the type of the metrics that they average.
        terms = ("reconstruction", "penalty") if config.objective.adaptive_penalty_weight else ()
        term_averages = {name: jnp.zeros((), statistics_dtype) for name in terms}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            autoencoder=Player(params, batch_stats, autoencoder_tx.init(params)),
            discriminator=Player(penalty_params, term_averages, discriminator_tx.init(penalty_params)),
            ema_params=jax.tree.map(jnp.copy, params) if config.ema_decay else {},
        )

    return create(jax.random.key(config.seed))
