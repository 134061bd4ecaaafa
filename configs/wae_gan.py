"""WAE-GAN: the codes are held to the prior by a discriminator in latent space.

    python -m wae_jax.main --config=configs/wae_gan.py[:variant] --workdir=runs/gan

Variants, with what is to be expected of them:

- *(none)*: the built-in corpus, with what cures over-fragmentation on real music (RESULTS.md): weights of the cost, and
  the rule of `binarization`. Two cores of a 2.8 GHz Xeon: 842 steps in 8 to 9 minutes on a busy machine.
  Reconstruction F1 .95 on training phrases, .92 on other songs; 1,024 draws of the prior have 1,429 cells on average,
  where the corpus has 1,438; drums, bass and guitar sound in every one, piano in half, as in the corpus.
- `blog`: nearest to the blog post, which is w00zie/wae_music at commit 360051b: `new_alt`, h = 16, z = 16, 300 epochs,
  batch 64, no dropout. For an accelerator; not run to its end yet.
- `repo`: that repository's later settings: `alt`, h = 8, z = 128, 500 epochs, batch 32. As above.
- `large`: `repo` with filters doubled. As above.

What differs from the sources on purpose, in all variants, is listed in the README.
"""

import dataclasses

import ml_collections

from wae_jax.config import OptimizerSpec, default_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of one variant: "", "blog", "repo" or "large"; see above."""
    config = default_config()
    if variant == "blog":
        _reference(config, h_dim=16, z_dim=16, batch_size=64, num_epochs=300)
        config.model.network = "new_alt"
        config.discriminator.widths = (512,) * 5
        config.autoencoder_optimizer = _keras_adam(1e-3, decay_rate=0.8, decay_steps=9600)
        config.discriminator_optimizer = _keras_adam(1e-4, decay_rate=0.9, decay_steps=12800)
    elif variant in ("repo", "large"):
        _reference(config, h_dim=8, z_dim=128, batch_size=32, num_epochs=500)
        config.model.dropout_rate = 0.2
        config.objective.reconstruction_weight = 0.5
        config.discriminator.widths = (256,) * 5
        config.autoencoder_optimizer = _keras_adam(1e-4, decay_rate=0.9, decay_steps=9600)
        config.discriminator_optimizer = _keras_adam(1e-4, decay_rate=0.8, decay_steps=12800)
        if variant == "large":
            config.model.h_dim = 16
    elif variant:
        raise ValueError(f"no variant {variant!r} of this config; there are '', 'blog', 'repo' and 'large'")
    return config


def set_plain_cost(config: ml_collections.ConfigDict) -> None:
    """The cost of the sources, in which no cell weighs more than another."""
    config.objective.cost.positive_weight = 1.0
    config.objective.cost.onset_weight = 0.0


def set_plain_binarization(config: ml_collections.ConfigDict) -> None:
    """Each cell by itself, above one threshold for all."""
    config.binarization.thresholds = "0.5"
    config.binarization.hysteresis_ratio = 1.0
    config.binarization.min_note_length = 1
    config.binarization.short_note_thresholds = "0"
    config.binarization.track_gates = "0"


def _reference(config: ml_collections.ConfigDict, *, h_dim: int, z_dim: int, batch_size: int, num_epochs: int) -> None:
    """What the variants after w00zie/wae_music have in common."""
    set_plain_cost(config)
    config.objective.reconstruction_weight = 1.0
    config.objective.penalty_weight = 100.0
    config.objective.penalty_warmup_steps = 0
    config.model.network = "alt"
    config.model.h_dim = h_dim
    config.model.z_dim = z_dim
    config.model.batch_norm_momentum = 0.99
    config.model.output_bias = "zero"
    set_plain_binarization(config)
    config.batch_size = batch_size
    config.num_epochs = num_epochs
    config.eval.num_phrases = 2048
    config.eval.num_train_phrases = 512
    config.log_every_steps = 100
    config.eval_every_steps = 1000
    config.checkpoint_every_steps = 1000


def _keras_adam(learning_rate: float, *, decay_rate: float, decay_steps: int) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dataclasses.asdict(
            OptimizerSpec(
                learning_rate=learning_rate, schedule="exponential", decay_rate=decay_rate, decay_steps=decay_steps
            )
        )
    )
