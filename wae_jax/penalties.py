"""The latent penalties D(Q_z, P_z) that a run can choose from, behind one interface.

A penalty may have a player of its own (the discriminator of WAE-GAN). One without has empty parameters and a
loss of zero, so that the training step is the same for all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from wae_jax import mmd, objective
from wae_jax.device_rolls import AnyArray
from wae_jax.models import Discriminator

Params = Any
Points = Float[AnyArray, "n Z"]
Scalar = Float[Array, ""]
Figures = Mapping[str, Scalar]
Gather = Callable[[Points], Float[Array, "N Z"]]
Place = Int[AnyArray, ""] | int
Statistic = Callable[[Points, Points, Gather, Place], Scalar]
Evaluation = Callable[[Points, Points], Scalar]


@dataclasses.dataclass(frozen=True)
class LatentPenalty:
    """One way to hold codes to the prior. Codes `z` and draws `z_prior` are this device's share of a batch.

    Attributes:
      init: random key to the player's parameters, {} where there is none.
      penalty: (params, z, z_prior, gather, first) to the scalar that the encoder descends. `gather` collects the shares
        of all devices, among which this one's begins at the place `first`. The mean over devices of what is returned is
        the penalty of the global batch.
      player_loss: (params, z, z_prior) to the scalar that the player descends.
      metrics: (params, z, z_prior) to further figures by name.
      evaluate: (params, z, z_prior) to the penalty and the further figures of any number of codes.
    """

    init: Callable[[Key[Array, ""]], Params]
    penalty: Callable[[Params, Points, Points, Gather, Place], Scalar]
    player_loss: Callable[[Params, Points, Points], Scalar]
    metrics: Callable[[Params, Points, Points], Figures]
    evaluate: Callable[[Params, Points, Points], Figures]


# The bandwidth of the RBF kernel is a median over all pairs, which has no tiled form.
_LARGEST_RBF_SAMPLE = 4096


def adversarial_penalty(*, latent_dim: int, widths: tuple[int, ...], dtype: jax.typing.DTypeLike) -> LatentPenalty:
    """The Jensen-Shannon divergence through a discriminator in latent space: WAE-GAN. `dtype` is the codes'."""
    discriminator = Discriminator(widths=widths)

    def logits(params: Params, z: Points) -> Float[Array, " n"]:
        return jnp.asarray(discriminator.apply({"params": params}, jnp.asarray(z)))

    def player_loss(params: Params, z: Points, z_prior: Points) -> Scalar:
        return jnp.mean(objective.discriminator_loss(logits(params, z_prior), logits(params, z)))

    def penalty(params: Params, z: Points) -> Scalar:
        return jnp.mean(objective.non_saturating_penalty(logits(params, z)))

    def metrics(params: Params, z: Points, z_prior: Points) -> Figures:
        return {
            "discriminator_loss": player_loss(params, z, z_prior),
            "jensen_shannon": objective.jensen_shannon_estimate(logits(params, z_prior), logits(params, z)),
        }

    return LatentPenalty(
        init=lambda key: discriminator.init(key, jnp.zeros((1, latent_dim), dtype))["params"],
        penalty=lambda params, z, z_prior, gather, first: penalty(params, z),
        player_loss=player_loss,
        metrics=metrics,
        evaluate=lambda params, z, z_prior: {"penalty": penalty(params, z), **metrics(params, z, z_prior)},
    )


def mmd_penalty(*, kernel: str, prior_variance: float) -> LatentPenalty:
    """The unbiased U-statistic of the squared maximum mean discrepancy: WAE-MMD. `kernel` is "imq" or "rbf"."""

    def imq(z: Points, z_prior: Points, gather: Gather, first: Place) -> Scalar:
        return mmd.mmd_squared_share(z, z_prior, gather(z), gather(z_prior), first, prior_variance=prior_variance)

    def rbf(z: Points, z_prior: Points, gather: Gather, first: Place) -> Scalar:
        # Its bandwidth is a median over all pairs, which every device therefore computes.
        return mmd.mmd_squared_rbf(gather(z), gather(z_prior))

    def rbf_of_some(z: Points, z_prior: Points) -> Scalar:
        return mmd.mmd_squared_rbf(z[:_LARGEST_RBF_SAMPLE], z_prior[:_LARGEST_RBF_SAMPLE])

    statistics: Mapping[str, tuple[Statistic, Evaluation]] = {
        "imq": (imq, functools.partial(mmd.mmd_squared_tiled, prior_variance=prior_variance)),
        "rbf": (rbf, rbf_of_some),
    }
    statistic, of_any_size = statistics[kernel]

    return LatentPenalty(
        init=lambda key: {},
        penalty=lambda params, z, z_prior, gather, first: statistic(z, z_prior, gather, first),
        player_loss=lambda params, z, z_prior: jnp.zeros(()),
        metrics=lambda params, z, z_prior: {},
        evaluate=lambda params, z, z_prior: {"penalty": of_any_size(z, z_prior)},
    )
