"""WAE-MMD on free music: the training of the model that ships with the package.

    python -m wae_jax.main --config=configs/wae_free.py --workdir=runs/free

docs/free_music.md says how the dataset, `data/free`, is made, and what else was tried. This is the variant `songs` of
`wae_mmd.py` with three times as many epochs.
"""

import pathlib
import runpy

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The configuration."""
    # By path: configs are files, not a package that could be imported from anywhere.
    base = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_mmd.py")))
    config = base["get_config"]("songs")
    config.data.path = "data/free"
    config.num_epochs = 192
    return config
