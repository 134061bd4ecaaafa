"""The latent penalties D(Q_z, P_z) that a run can choose from, behind one interface.

A penalty may have a player of its own (the discriminator of WAE-GAN). One without has empty parameters and a
loss of zero, so that the training step is the same for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.models.autoencoder import Discriminator, Encoded
from wae_jax.objective import adversarial, divergences, mmd

Params = Any
Points = Float[AnyArray, "n Z"]
Scalar = Float[Array, ""]
Figures = Mapping[str, Scalar]
Gather = Callable[[Points], Float[Array, "N Z"]]
Place = Int[AnyArray, ""] | int


@dataclasses.dataclass(frozen=True)
class WholeBatch:
    """What a device knows of the global batch that its own codes are a share of.

    Attributes:
      gather: collects the shares of all devices.
      first: the place among them where this device's begins.
      key: random, the same on all devices.
    """

    gather: Gather
    first: Place
    key: Key[Array, ""]


Statistic = Callable[[Points, Points, WholeBatch], Scalar]
Evaluation = Callable[[Points, Points, Key[Array, ""]], Scalar]


@dataclasses.dataclass(frozen=True)
class LatentPenalty:
    """One way to hold codes to the prior. Codes and draws `z_prior` are this device's share of a batch.

    Attributes:
      init: random key to the player's parameters, {} where there is none.
      penalty: (params, encoded, z_prior, batch) to the scalar that the encoder descends. The mean over devices of what
        is returned is the penalty of the global batch.
      player_loss: (params, z, z_prior) to the scalar that the player descends.
      metrics: (params, z, z_prior) to further figures by name.
      evaluate: (params, encoded, z_prior, key) to the penalty and the further figures of any number of codes.
    """

    init: Callable[[Key[Array, ""]], Params]
    penalty: Callable[[Params, Encoded, Points, WholeBatch], Scalar]
    player_loss: Callable[[Params, Points, Points], Scalar]
    metrics: Callable[[Params, Points, Points], Figures]
    evaluate: Callable[[Params, Encoded, Points, Key[Array, ""]], Figures]


# Of statistics of all pairs that have no tiled form: the bandwidth of the RBF kernel, for one, is their median.
_MOST_PAIRED = 4096


def adversarial_penalty(
    *,
    latent_dim: int,
    widths: tuple[int, ...],
    dtype: jax.typing.DTypeLike,
    log_prior: Callable[[Points], Float[Array, " n"]] | None = None,
) -> LatentPenalty:
    """The Jensen-Shannon divergence through a discriminator in latent space: WAE-GAN.

    Args:
      latent_dim: of the codes.
      widths: units of the discriminator's hidden layers.
      dtype: of the codes.
      log_prior: the prior's log density, which is then added to the logit, so that the network has to learn the codes'
        alone: the best logit is log p(z) - log q(z). Source: `wae_prior_discriminator` of tolstikhin/wae.
    """
    discriminator = Discriminator(widths=widths)

    def logits(params: Params, z: Points) -> Float[Array, " n"]:
        learned = jnp.asarray(discriminator.apply({"params": params}, jnp.asarray(z)))
        return learned if log_prior is None else learned + log_prior(z)

    def player_loss(params: Params, z: Points, z_prior: Points) -> Scalar:
        return jnp.mean(adversarial.discriminator_loss(logits(params, z_prior), logits(params, z)))

    def penalty(params: Params, z: Points) -> Scalar:
        return jnp.mean(adversarial.non_saturating_penalty(logits(params, z)))

    def metrics(params: Params, z: Points, z_prior: Points) -> Figures:
        return {
            "discriminator_loss": player_loss(params, z, z_prior),
            "jensen_shannon": adversarial.jensen_shannon_estimate(logits(params, z_prior), logits(params, z)),
        }

    return LatentPenalty(
        init=lambda key: discriminator.init(key, jnp.zeros((1, latent_dim), dtype))["params"],
        penalty=lambda params, encoded, z_prior, batch: penalty(params, encoded.z),
        player_loss=player_loss,
        metrics=metrics,
        evaluate=lambda params, encoded, z_prior, key: {
            "penalty": penalty(params, encoded.z),
            **metrics(params, encoded.z, z_prior),
        },
    )


def _without_player(
    penalty: Callable[[Encoded, Points, WholeBatch], Scalar],
    evaluation: Callable[[Encoded, Points, Key[Array, ""]], Scalar],
) -> LatentPenalty:
    return LatentPenalty(
        init=lambda key: {},
        penalty=lambda params, encoded, z_prior, batch: penalty(encoded, z_prior, batch),
        player_loss=lambda params, z, z_prior: jnp.zeros(()),
        metrics=lambda params, z, z_prior: {},
        evaluate=lambda params, encoded, z_prior, key: {"penalty": evaluation(encoded, z_prior, key)},
    )


def _of_samples(statistic: Statistic, evaluation: Evaluation) -> LatentPenalty:
    return _without_player(
        lambda encoded, z_prior, batch: statistic(encoded.z, z_prior, batch),
        lambda encoded, z_prior, key: evaluation(encoded.z, z_prior, key),
    )


def _computed_everywhere(of_all: Evaluation, *, largest: int | None = _MOST_PAIRED) -> LatentPenalty:
    """A statistic that does not divide: every device computes it from all codes. `largest` is for evaluations."""
    return _of_samples(
        lambda z, z_prior, batch: of_all(batch.gather(z), batch.gather(z_prior), batch.key),
        lambda z, z_prior, key: of_all(z[:largest], z_prior[:largest], key),
    )


def mmd_penalty(*, kernel: str, prior_variance: float) -> LatentPenalty:
    """The unbiased U-statistic of the squared maximum mean discrepancy: WAE-MMD. `kernel` is "imq" or "rbf"."""
    if kernel == "rbf":
        return _computed_everywhere(lambda z, z_prior, key: mmd.mmd_squared_rbf(z, z_prior))
    return _of_samples(
        lambda z, z_prior, batch: mmd.mmd_squared_share(
            z, z_prior, batch.gather(z), batch.gather(z_prior), batch.first, prior_variance=prior_variance
        ),
        lambda z, z_prior, key: mmd.mmd_squared_tiled(z, z_prior, prior_variance=prior_variance),
    )


def sliced_wasserstein_penalty(*, num_projections: int, latent_dim: int) -> LatentPenalty:
    """`divergences.sliced_wasserstein` along new directions at each step."""

    def of_all(z: Points, z_prior: Points, key: Key[Array, ""]) -> Scalar:
        directions = divergences.random_directions(key, num=num_projections, latent_dim=latent_dim)
        return divergences.sliced_wasserstein(z, z_prior, directions)

    return _computed_everywhere(of_all, largest=None)


def cramer_wold_penalty(*, prior_variance: float, is_log: bool) -> LatentPenalty:
    """`divergences.cramer_wold`, or its logarithm, which its authors minimise."""

    def of_all(z: Points, z_prior: Points, key: Key[Array, ""]) -> Scalar:
        distance = divergences.cramer_wold(z, prior_variance=prior_variance)
        # Not negative but for rounding, of which a logarithm would make something that is no number.
        return jnp.log(jnp.maximum(distance, jnp.finfo(distance.dtype).eps)) if is_log else distance

    return _computed_everywhere(of_all)


def sinkhorn_penalty(*, epsilon: float) -> LatentPenalty:
    """The Sinkhorn divergence; arguments and errors as in `divergences.make_sinkhorn`."""
    sinkhorn = divergences.make_sinkhorn(epsilon=epsilon)
    return _computed_everywhere(lambda z, z_prior, key: sinkhorn(z, z_prior))


def kl_penalty(*, prior_variance: float) -> LatentPenalty:
    """The mean over phrases of the KL of each code's own distribution: the VAE's. For Gaussian encoders alone."""

    def mean(encoded: Encoded) -> Scalar:
        if encoded.log_variance is None:
            raise ValueError("penalty 'kl' compares distributions of codes: it needs encoder 'gaussian'")
        kl = divergences.kl_divergence(encoded.mean, encoded.log_variance, prior_variance=prior_variance)
        return jnp.mean(kl)

    return _without_player(lambda encoded, z_prior, batch: mean(encoded), lambda encoded, z_prior, key: mean(encoded))


def no_penalty() -> LatentPenalty:
    """Codes are free: a plain autoencoder."""
    return _of_samples(lambda z, z_prior, batch: jnp.zeros(()), lambda z, z_prior, key: jnp.zeros(()))
