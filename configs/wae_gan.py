"""WAE-GAN: a discriminator in latent space matches the codes to the prior.

    python -m wae_jax.main --config=configs/wae_gan.py[:variant] --workdir=runs/gan

Variants:

- (none): built-in corpus, `meter`, h = 16, z = 32, 1,263 steps of 32 phrases. Two cores of an AMD EPYC: a minute and a
  half. Reconstruction F1 .99 on training phrases, .98 on other songs; samples have 1,486 active cells on average, the
  corpus 1,433.
- `songs`: for songs of one's own, with `--config.data.path`: z = 128, dropout, phrases that begin up to three bars
  later, 64 epochs, averaged parameters; the best checkpoint is that whose samples are nearest to held-out songs. 3,613
  phrases of free game music on two cores of an Intel Xeon: 9 minutes; F1 .82 on training phrases, .67 on other songs.
- `blog`: `new_alt`, h = 16, z = 16, 300 epochs of batches of 64, no dropout. For an accelerator; not run to its end.
- `repo`: `alt`, h = 8, z = 128, 500 epochs of batches of 32. For an accelerator; not run to its end.
- `large`: `repo` with twice the filters. For an accelerator; not run to its end.

`blog` is nearest to the blog post, which is w00zie/wae_music at commit 360051b; `repo` has that repository's later
settings. docs/training.md lists what differs from these sources on purpose. The default variant has the weights of the
cost and the binarization rule that keep samples of real music from fragmenting (docs/results.md).
"""

import dataclasses

import ml_collections

from wae_jax.config import OptimizerSpec, default_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant: "", "songs", "blog", "repo" or "large"."""
    config = default_config()
    if variant == "songs":
        _for_songs(config)
    elif variant == "blog":
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
        raise ValueError(f"no variant {variant!r} of this config; there are '', 'songs', 'blog', 'repo' and 'large'")
    return config


def set_plain_cost(config: ml_collections.ConfigDict) -> None:
    """Sets the cost of the sources, in which all cells have the same weight."""
    config.objective.cost.positive_weight = 1.0
    config.objective.cost.onset_weight = 0.0


def set_plain_binarization(config: ml_collections.ConfigDict) -> None:
    """Sets a rule that looks at each cell alone, with one threshold for all tracks."""
    config.binarization.thresholds = "0.5"
    config.binarization.min_note_length = 1
    config.binarization.short_note_thresholds = "0"
    config.binarization.track_gates = "0"


def _for_songs(config: ml_collections.ConfigDict) -> None:
    """Sets what real songs need, which differ more than those of the built-in corpus."""
    config.model.z_dim = 128
    # Without dropout, samples from codes near those of training phrases become near copies of them: docs/results.md.
    config.model.dropout_rate = 0.2
    # Four times as many phrases, which take more epochs: F1 of other songs .67 in place of .61 (docs/results.md).
    config.data.shift_bars = True
    config.num_epochs = 64
    config.ema_decay = 0.998
    config.log_every_steps = 100
    config.eval.num_samples = 512
    # The reconstruction of other songs is best early, when samples are still all alike.
    config.best_metric = "samples/frechet_distance"


def _reference(config: ml_collections.ConfigDict, *, h_dim: int, z_dim: int, batch_size: int, num_epochs: int) -> None:
    """Sets what the variants after w00zie/wae_music have in common."""
    set_plain_cost(config)
    config.objective.reconstruction_weight = 1.0
    config.objective.penalty_weight = 100.0
    config.prior = "normal"
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
