"""Adam with learning-rate schedules, one optimizer for the autoencoder and one for the discriminator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

from wae_jax.config import Config, OptimizerSpec

Schedule = Callable[[Any], Any]

# From the spec and the number of steps after the warm-up.
SCHEDULES: dict[str, Callable[[OptimizerSpec, int], Schedule]] = {
    "constant": lambda spec, steps: optax.constant_schedule(spec.learning_rate),
    "exponential": lambda spec, steps: optax.exponential_decay(spec.learning_rate, spec.decay_steps, spec.decay_rate),
    "cosine": lambda spec, steps: optax.cosine_decay_schedule(spec.learning_rate, steps),
}


def make_schedule(spec: OptimizerSpec, *, num_train_steps: int) -> Schedule:
    """Returns the learning rate by step: a linear warm-up to `learning_rate`, then the schedule of `spec`.

    Args:
      spec: of one optimizer.
      num_train_steps: the step at which a cosine schedule reaches 0.
    """
    schedule = SCHEDULES[spec.schedule](spec, max(num_train_steps - spec.warmup_steps, 1))
    if not spec.warmup_steps:
        return schedule
    warmup = optax.linear_schedule(0.0, spec.learning_rate, spec.warmup_steps)
    return optax.join_schedules([warmup, schedule], [spec.warmup_steps])


def make_optimizer(spec: OptimizerSpec, *, num_train_steps: int) -> optax.GradientTransformation:
    """Returns Adam with the schedule of `spec`; arguments as for `make_schedule`."""
    return optax.chain(
        optax.clip_by_global_norm(spec.clip_norm) if spec.clip_norm else optax.identity(),
        optax.adam(make_schedule(spec, num_train_steps=num_train_steps), b1=spec.b1, b2=spec.b2, eps=spec.eps),
    )


def make_optimizers(
    config: Config, *, num_train_steps: int
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Returns the optimizers of the autoencoder and of the discriminator."""
    specs = config.autoencoder_optimizer, config.discriminator_optimizer
    autoencoder, discriminator = (make_optimizer(spec, num_train_steps=num_train_steps) for spec in specs)
    return autoencoder, discriminator
