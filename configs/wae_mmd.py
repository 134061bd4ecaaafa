"""WAE-MMD: the maximum mean discrepancy matches the codes to the prior, without a discriminator.

    python -m wae_jax.main --config=configs/wae_mmd.py[:variant] --workdir=runs/mmd

Variants as in `wae_gan.py`, from which this differs in the penalty and its weight. `blog` has the sizes that
w00zie/wae_music at commit 360051b gives for its WAE-MMD: h = 32, z = 8, batches of 32.

On two cores:

- default variant, built-in corpus, 1,263 steps, AMD EPYC: 79 seconds; F1 .99 on training phrases, .97 on other songs.
- `songs`, 3,613 phrases of free game music, AMD EPYC: 5 minutes; F1 .83 on training phrases, .63 on other songs.
- `alt`, h = 16, z = 16, 30 epochs of batches of 64 on 4,449 phrases of free game music (command in docs/results.md):
  76 minutes on a busy machine; F1 .70 on training phrases, .35 on other songs.
"""

import pathlib
import runpy

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant: "", "songs", "blog", "repo" or "large"."""
    # By path: configs are files, not a package that could be imported from anywhere.
    base = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))
    config = base["get_config"](variant)
    config.objective.penalty = "mmd"
    config.objective.penalty_weight = 100.0
    if variant in ("", "songs"):
        config.objective.reconstruction_weight = 0.5
    if variant == "blog":
        config.model.h_dim = 32
        config.model.z_dim = 8
        config.batch_size = 32
    return config
