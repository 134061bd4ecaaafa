"""WAE-MMD: the codes are held to the prior by the maximum mean discrepancy."""

import ml_collections

from configs import wae_gan


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of one variant: "", "blog", "repo" or "large"."""
    config = wae_gan.get_config(variant)
    config.penalty = "mmd"
    config.penalty_weight = 100.0
    return config
