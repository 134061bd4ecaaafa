"""WAE-MMD: the codes are held to the prior by the maximum mean discrepancy, without a discriminator.

    python -m wae_jax.main --config=configs/wae_mmd.py[:variant] --workdir=runs/mmd

Variants as in `wae_gan.py`, which this is a difference from. `blog` has the sizes that w00zie/wae_music at commit
360051b gives for its WAE-MMD: h = 32, z = 8, batch 32.

On 4,449 phrases of free game music, `alt`, h = 16, z = 16, 30 epochs of batch 64 give a reconstruction F1 of .70 on
training phrases and .35 on other songs (the README has the command), in 76 minutes on two busy cores of a 2.8 GHz Xeon.
The default variant on the built-in corpus takes 7 minutes on these cores and reaches a reconstruction F1 of .96 on
training phrases and .92 on other songs. Every one of 1,024 draws of the prior has drums, bass and a chord track; they
have as many cells as the corpus, and 95 % of their onsets lie on eighth notes.
"""

import pathlib
import runpy

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of one variant: "", "blog", "repo" or "large"."""
    # By path, since the configs are a folder of files and not a package that could be imported from anywhere.
    base = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))
    config = base["get_config"](variant)
    config.objective.penalty = "mmd"
    config.objective.penalty_weight = 100.0
    if variant == "":
        config.objective.reconstruction_weight = 0.5
    if variant == "blog":
        config.model.h_dim = 32
        config.model.z_dim = 8
        config.batch_size = 32
    return config
