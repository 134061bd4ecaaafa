"""The latent penalties D(Q_z, P_z) of a configuration, behind one interface.

A penalty may train a discriminator (WAE-GAN). The others have empty parameters and a discriminator loss of zero, so
that the training step is the same for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.config import DiscriminatorSpec, ObjectiveSpec
from wae_jax.models.discriminator import Discriminator
from wae_jax.models.encoder_decoder import Encoded
from wae_jax.models.modules import full_precision
from wae_jax.objective import adversarial, divergences, mmd
from wae_jax.objective.prior import prior_log_density

Params = Any
Points = Float[AnyArray, "n Z"]
Scalar = Float[Array, ""]
Metrics = Mapping[str, Scalar]


@dataclasses.dataclass(frozen=True)
class GlobalBatch:
    """The global batch as one device sees it.

    Attributes:
      gather: collects the shares of all devices, `[n, Z]` to `[N, Z]`.
      offset: index in the global batch of this device's first phrase.
      key: random, the same on all devices.
    """

    gather: Callable[[Points], Float[Array, "N Z"]]
    offset: Int[AnyArray, ""] | int
    key: Key[Array, ""]


@dataclasses.dataclass(frozen=True)
class LatentPenalty:
    """A discrepancy between codes and the prior. Codes and prior samples are one device's share of a batch.

    Attributes:
      penalty: (params, encoded, z_prior, batch) to the scalar that the encoder minimizes. Its mean over devices is the
        penalty of the global batch.
      evaluate: (params, encoded, z_prior, key) to metrics of any number of codes, "penalty" among them.
      init: random key to the discriminator's parameters; {} without one.
      discriminator_loss: (params, z, z_prior) to the scalar that the discriminator minimizes, and metrics.
    """

    penalty: Callable[[Params, Encoded, Points, GlobalBatch], Scalar]
    evaluate: Callable[[Params, Encoded, Points, Key[Array, ""]], Metrics]
    init: Callable[[Key[Array, ""]], Params] = lambda key: {}
    discriminator_loss: Callable[[Params, Points, Points], tuple[Scalar, Metrics]] = lambda params, z, z_prior: (
        jnp.zeros(()),
        {},
    )


def make_penalty(
    objective: ObjectiveSpec, discriminator: DiscriminatorSpec, *, latent_dim: int, dtype: DTypeLike
) -> LatentPenalty:
    """Returns the latent penalty that a configuration names.

    Args:
      objective: names the penalty and has its settings.
      discriminator: of penalty "gan".
      latent_dim: dimensions of a code.
      dtype: of the computation; codes are at least float32.
    """
    if objective.penalty == "gan":
        return _adversarial(objective, discriminator, latent_dim, full_precision(dtype))
    return PENALTIES[objective.penalty](objective, latent_dim)


def _adversarial(objective: ObjectiveSpec, spec: DiscriminatorSpec, latent_dim: int, dtype: DTypeLike) -> LatentPenalty:
    """The Jensen-Shannon divergence through a discriminator in latent space: WAE-GAN.

    With `prior_logit`, log p(z) is added to the logit, so that the network learns the log density of the codes alone:
    the best logit is log p(z) - log q(z). Source: `wae_prior_discriminator` of tolstikhin/wae.
    """
    discriminator = Discriminator(widths=spec.widths)

    def logits(params: Params, z: Points) -> Float[Array, " n"]:
        learned = jnp.asarray(discriminator.apply({"params": params}, jnp.asarray(z)))
        if not spec.prior_logit:
            return learned
        return learned + prior_log_density(z, prior_variance=objective.prior_variance)

    def penalty(params: Params, z: Points) -> Scalar:
        return jnp.mean(adversarial.non_saturating_penalty(logits(params, z)))

    def discriminator_loss(params: Params, z: Points, z_prior: Points) -> tuple[Scalar, Metrics]:
        logits_prior, logits_codes = logits(params, z_prior), logits(params, z)
        loss = jnp.mean(adversarial.discriminator_loss(logits_prior, logits_codes))
        divergence = adversarial.jensen_shannon_estimate(logits_prior, logits_codes)
        return loss, {"discriminator_loss": loss, "jensen_shannon": divergence}

    return LatentPenalty(
        penalty=lambda params, encoded, z_prior, batch: penalty(params, encoded.z),
        evaluate=lambda params, encoded, z_prior, key: {
            "penalty": penalty(params, encoded.z),
            **discriminator_loss(params, encoded.z, z_prior)[1],
        },
        init=lambda key: discriminator.init(key, jnp.zeros((1, latent_dim), dtype))["params"],
        discriminator_loss=discriminator_loss,
    )


def _of_all_codes(
    statistic: Callable[[Points, Points, Key[Array, ""]], Scalar], *, max_evaluated: int | None = 4096
) -> LatentPenalty:
    """Returns the penalty of a statistic that cannot be divided: each device computes it from the codes of all.

    Args:
      statistic: of codes, prior samples and a key.
      max_evaluated: how many codes an evaluation compares at most, since most statistics look at all pairs.
    """
    return LatentPenalty(
        lambda params, encoded, z_prior, batch: statistic(batch.gather(encoded.z), batch.gather(z_prior), batch.key),
        lambda params, encoded, z_prior, key: {
            "penalty": statistic(encoded.z[:max_evaluated], z_prior[:max_evaluated], key)
        },
    )


def _mmd(spec: ObjectiveSpec, latent_dim: int) -> LatentPenalty:
    """The unbiased U-statistic of the squared maximum mean discrepancy: WAE-MMD."""
    if spec.mmd_kernel == "rbf":
        return _of_all_codes(lambda z, z_prior, key: mmd.mmd_squared_rbf(z, z_prior))

    scales: dict[str, Any] = {"prior_variance": spec.prior_variance, "scales": spec.mmd_scales}

    def penalty(params: Params, encoded: Encoded, z_prior: Points, batch: GlobalBatch) -> Scalar:
        gathered = batch.gather(encoded.z), batch.gather(z_prior)
        return mmd.mmd_squared_share(encoded.z, z_prior, *gathered, batch.offset, **scales)

    def evaluate(params: Params, encoded: Encoded, z_prior: Points, key: Key[Array, ""]) -> Metrics:
        return {"penalty": mmd.mmd_squared_tiled(encoded.z, z_prior, **scales)}

    return LatentPenalty(penalty, evaluate)


def _sliced_wasserstein(spec: ObjectiveSpec, latent_dim: int) -> LatentPenalty:
    def statistic(z: Points, z_prior: Points, key: Key[Array, ""]) -> Scalar:
        directions = divergences.random_directions(key, num=spec.sliced_num_projections, latent_dim=latent_dim)
        return divergences.sliced_wasserstein(z, z_prior, directions)

    return _of_all_codes(statistic, max_evaluated=None)


def _cramer_wold(spec: ObjectiveSpec, latent_dim: int) -> LatentPenalty:
    def statistic(z: Points, z_prior: Points, key: Key[Array, ""]) -> Scalar:
        distance = divergences.cramer_wold(z, prior_variance=spec.prior_variance)
        # Rounding can make the distance negative, and its logarithm NaN.
        return jnp.log(jnp.maximum(distance, jnp.finfo(distance.dtype).eps)) if spec.cramer_wold_log else distance

    return _of_all_codes(statistic)


def _kl(spec: ObjectiveSpec, latent_dim: int) -> LatentPenalty:
    """The mean over phrases of the KL divergence of each code's distribution from the prior: the penalty of VAEs."""

    def mean_kl(encoded: Encoded) -> Scalar:
        if encoded.log_variance is None:
            raise ValueError("penalty 'kl' compares distributions of codes: it needs encoder 'gaussian'")
        return jnp.mean(
            divergences.kl_divergence(encoded.mean, encoded.log_variance, prior_variance=spec.prior_variance)
        )

    return LatentPenalty(
        lambda params, encoded, z_prior, batch: mean_kl(encoded),
        lambda params, encoded, z_prior, key: {"penalty": mean_kl(encoded)},
    )


def _none(spec: ObjectiveSpec, latent_dim: int) -> LatentPenalty:
    return _of_all_codes(lambda z, z_prior, key: jnp.zeros(()))


# All but "gan", which has a discriminator besides.
PENALTIES: dict[str, Callable[[ObjectiveSpec, int], LatentPenalty]] = {
    "mmd": _mmd,
    "sliced_wasserstein": _sliced_wasserstein,
    "cramer_wold": _cramer_wold,
    "kl": _kl,
    "none": _none,
}
