"""Small configurations and data that several tests share."""

import importlib.util
import pathlib

import ml_collections
import numpy as np

from wae_jax import pianoroll

ROOT = pathlib.Path(__file__).parents[1]


def load_config(name, variant=""):
    """The configuration of a file in `configs/`, as `--config=configs/NAME.py:VARIANT` would load it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def tiny_config(penalty="gan", **changes) -> ml_collections.ConfigDict:
    """A run that compiles and trains in seconds; `changes` are dotted fields."""
    config = load_config("wae_gan")
    config.update(
        {
            "penalty": penalty,
            "batch_size": 8,
            "num_train_steps": 6,
            "log_every_steps": 2,
            "eval_every_steps": 3,
            "checkpoint_every_steps": 3,
        }
    )
    config.update_from_flattened_dict(
        {
            "data.num_songs": 12,
            "data.phrases_per_song": 2,
            "model.network": "tiny",
            "model.h_dim": 2,
            "model.z_dim": 4,
            "model.kernel_size": (8, 8),
            "discriminator.widths": (8,),
            "eval.num_phrases": 8,
            "eval.num_train_phrases": 0,
            "eval.num_samples": 0,
        }
    )
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return config


def random_rolls(num, *, density=0.02, seed=0):
    """bool [num, T, P, K], every cell on its own."""
    return np.random.default_rng(seed).random((num, *pianoroll.PHRASE_SHAPE)) < density
