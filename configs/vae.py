"""A variational autoencoder (Kingma and Welling, arXiv 1312.6114) on the networks of the others: the baseline.

    python -m wae_jax.main --config=configs/vae.py[:variant] --workdir=runs/vae

Variants as in `wae_gan.py`, which this is a difference from. The encoder is Gaussian, and the penalty is the KL of each
phrase's own distribution from the prior, where the others hold all phrases' codes together to it.

The loss is the negative evidence lower bound for cells that are normal around their probability with variance 1:
||x - x_hat||^2 / 2 + KL, up to a constant and a common factor, so that penalty_weight is twice reconstruction_weight
and no cell weighs more than another. A larger penalty_weight is the beta-VAE of as many times the usual beta. Not run
to its end yet.
"""

import pathlib
import runpy

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of one variant: "", "blog", "repo" or "large"."""
    # By path, since the configs are a folder of files and not a package that could be imported from anywhere.
    base = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))
    config = base["get_config"](variant)
    config.objective.penalty = "kl"
    config.model.encoder = "gaussian"
    base["set_plain_cost"](config)
    config.objective.penalty_weight = 2.0 * config.objective.reconstruction_weight
    return config
