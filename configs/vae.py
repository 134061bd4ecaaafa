"""Variational autoencoder (arXiv 1312.6114) on the networks of the other configurations: the baseline.

    python -m wae_jax.main --config=configs/vae.py[:variant] --workdir=runs/vae

Variants as in `wae_gan.py`, from which this differs in the encoder, which is Gaussian, and in the penalty: the KL
divergence of each phrase's own distribution from the prior. Default variant, built-in corpus, two cores of an
AMD EPYC: 74 seconds; reconstruction F1 .97 on training phrases, .96 on other songs.

The loss is the negative evidence lower bound for cells that are normal around their probability with variance 1,
||x - x_hat||^2 / 2 + KL, up to a constant and a common factor. So penalty_weight is twice reconstruction_weight, and
all cells have the same weight. A penalty_weight that is b times as large gives a beta-VAE with beta = b.
"""

import pathlib
import runpy

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant: "", "songs", "blog", "repo" or "large"."""
    # By path: configs are files, not a package that could be imported from anywhere.
    base = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))
    config = base["get_config"](variant)
    config.objective.penalty = "kl"
    config.model.encoder = "gaussian"
    base["set_plain_cost"](config)
    config.objective.penalty_weight = 2.0 * config.objective.reconstruction_weight
    return config
