"""WAE-GAN: the codes are held to the prior by a discriminator in latent space.

    python -m wae_jax.main --config=configs/wae_gan.py[:variant] --workdir=runs/gan

Variants, with what is to be expected of them:

- *(none)*: the built-in corpus, with what cures over-fragmentation on real music (RESULTS.md): weights of the cost, and
  the rules of `decision`. Two cores of a 2.8 GHz Xeon: 842 steps in 8 to 9 minutes on a busy machine.
  Reconstruction F1 .95 on training phrases, .92 on other songs; 1,024 draws of the prior have 1,429 cells on average,
  where the corpus has 1,438; drums, bass and guitar sound in every one, piano in half, as in the corpus.
- `blog`: nearest to the blog post, which is w00zie/wae_music at commit 360051b: `new_alt`, h = 16, z = 16, 300 epochs,
  batch 64, no dropout. For an accelerator; not run to its end yet.
- `repo`: that repository's later settings: `alt`, h = 8, z = 128, 500 epochs, batch 32. As above.
- `large`: `repo` with filters doubled. As above.

What differs from the sources on purpose, in all variants, is listed in the README.
"""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of one variant: "", "blog", "repo" or "large"; see above."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.dtype = "float32"

    # The data.
    config.data = ml_collections.ConfigDict()
    config.data.path = ""  # a folder made by build_dataset; empty means the built-in corpus
    config.data.num_songs = 512  # of the built-in corpus
    config.data.phrases_per_song = 8  # of the built-in corpus
    config.data.transpose_semitones = 0  # augmentation: the non-drum tracks, up to so many either way
    config.data.placement = "auto"  # or "device" or "host": where the packed phrases lie while training

    # The objective: reconstruction_weight * c(x, x_hat) + penalty_weight * D(Q_z, P_z), where c is a sum over cells.
    config.cost = ml_collections.ConfigDict()
    config.cost.kind = "squared_error"  # or "cross_entropy" or "focal"
    config.cost.positive_weight = 2.0  # of cells that sound; one to two of a hundred do
    config.cost.focal_gamma = 2.0
    config.cost.onset_weight = 2.0  # of the squared error of where notes begin
    config.cost.smoothness_weight = 0.0  # of changes along time where the music has none
    config.binary_neurons = ml_collections.ConfigDict()
    config.binary_neurons.kind = "none"  # or "deterministic" or "stochastic": the cost is of cells on or off
    config.binary_neurons.gradient = "sigmoid_adjusted"  # or "straight_through"
    config.binary_neurons.slope_growth = 1.25  # of the sigmoid, every 1,000 steps, up to max_slope
    config.binary_neurons.max_slope = 6.0
    config.penalty = "gan"  # or "mmd", "sliced_wasserstein", "cramer_wold", "kl", "sinkhorn", "none"
    config.reconstruction_weight = 1.0
    config.penalty_weight = 10.0
    config.penalty_warmup_steps = 0
    config.prior_variance = 1.0
    config.pretrain_steps = 0
    config.adaptive_penalty_weight = False  # from penalty_weight on, to keep both terms equally large
    config.mmd_kernel = "imq"
    config.sliced_num_projections = 64
    config.cramer_wold_log = False  # its authors minimise the logarithm
    config.sinkhorn_epsilon = 0.05  # in units of the expected squared distance of two draws of the prior
    config.encoder = "deterministic"  # or "gaussian" or "additive_noise"
    config.encoder_noise = 0.01  # of "additive_noise": the deviation of what is added to its input
    config.log_variance_penalty_weight = 0.0  # of "gaussian": arXiv 1802.03761

    # The networks.
    config.model = ml_collections.ConfigDict()
    config.model.network = "meter"
    config.model.h_dim = 16
    config.model.z_dim = 32
    config.model.kernel_size = (6, 6)
    config.model.normalization = "batch"  # or "layer"
    config.model.activation = "relu"  # or "leaky_relu"
    config.model.dropout_rate = 0.0
    config.model.batch_norm_momentum = 0.9  # a short run must not remember its first steps
    config.model.output_bias = "density"
    config.model.output_planes = "cells"  # or "onsets_and_sustains": where notes begin, and where they go on
    config.refiner = ml_collections.ConfigDict()  # residual units after the decoder, each track's own
    config.refiner.num_units = 0  # arXiv 1804.09399 has two of 64 filters, kernels of 3 x 12 and no strides
    config.refiner.filters = 8  # of a unit, for each track
    config.refiner.kernel_size = (12, 12)
    config.refiner.strides = (6, 1)
    config.refiner.first_step = 0  # if not 0: all else is trained alone until then, and the refiner alone from then on
    config.discriminator = ml_collections.ConfigDict()
    config.discriminator.widths = (256, 256, 256)
    config.discriminator.prior_logit = False  # adds log p(z) to its logit

    # The two players' optimizers.
    config.autoencoder_optimizer = _adam(learning_rate=2e-3, schedule="cosine", warmup_steps=50)
    config.discriminator_optimizer = _adam(learning_rate=2e-4, schedule="constant", b1=0.5)
    config.ema_decay = 0.0

    # The run.
    config.batch_size = 32
    config.num_epochs = 8
    config.num_train_steps = 0  # when positive it overrules num_epochs
    config.steps_per_call = 0  # of the devices, at most; 0 means 1 on CPUs and 8 on accelerators
    config.log_every_steps = 25
    config.eval_every_steps = 200
    config.checkpoint_every_steps = 200
    config.eval = ml_collections.ConfigDict()
    config.eval.threshold = 0.5
    config.eval.num_phrases = 512  # of the validation split, at most: eval/*
    config.eval.num_train_phrases = 256  # of the training split, from its start: eval_train/*
    config.eval.num_samples = 4  # fixed prior draws and reconstructions, written at every evaluation
    config.eval.num_draws = 128  # prior draws measured as music at every evaluation: draws/*
    config.eval.num_page_draws = 64  # on the page written at the end, listen.html; 0 for no page
    config.decision = ml_collections.ConfigDict()  # which cells sound, wherever music is made of the run
    config.decision.method = "hard"  # or "bernoulli": each cell at random with its probability
    config.decision.thresholds = "density"  # so that draws are as dense as the data; or "fixed": eval.threshold
    config.decision.hold = 0.9  # a note lasts while above this share of the threshold that it began above
    config.decision.close_gaps = 0  # steps: gaps so long become part of one note
    config.decision.min_length = 3  # steps: shorter notes are left out; 3 are a sixteenth
    config.decision.keep_short = "data"  # but the surest, so that draws have as many as the data; or "none" stays
    config.decision.rests = "data"  # tracks rest in whole phrases: as many empty bars as in the data; or "none"
    config.best_metric = "eval/reconstruction"
    config.best_mode = "min"

    if variant == "blog":
        _reference(config, h_dim=16, z_dim=16, batch_size=64, num_epochs=300)
        config.model.network = "new_alt"
        config.discriminator.widths = (512,) * 5
        config.autoencoder_optimizer = _keras_adam(1e-3, decay_rate=0.8, decay_steps=9600)
        config.discriminator_optimizer = _keras_adam(1e-4, decay_rate=0.9, decay_steps=12800)
    elif variant in ("repo", "large"):
        _reference(config, h_dim=8, z_dim=128, batch_size=32, num_epochs=500)
        config.model.dropout_rate = 0.2
        config.reconstruction_weight = 0.5
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
    config.cost.positive_weight = 1.0
    config.cost.onset_weight = 0.0


def set_plain_decision(config: ml_collections.ConfigDict) -> None:
    """Each cell by itself, above one threshold for all."""
    config.decision.thresholds = "fixed"
    config.decision.hold = 1.0
    config.decision.close_gaps = 0
    config.decision.min_length = 1
    config.decision.keep_short = "none"
    config.decision.rests = "none"


def _reference(config: ml_collections.ConfigDict, *, h_dim: int, z_dim: int, batch_size: int, num_epochs: int) -> None:
    """What the variants after w00zie/wae_music have in common."""
    set_plain_cost(config)
    config.reconstruction_weight = 1.0
    config.penalty_weight = 100.0
    config.penalty_warmup_steps = 0
    config.model.network = "alt"
    config.model.h_dim = h_dim
    config.model.z_dim = z_dim
    config.model.batch_norm_momentum = 0.99
    config.model.output_bias = "zero"
    set_plain_decision(config)
    config.batch_size = batch_size
    config.num_epochs = num_epochs
    config.eval.num_phrases = 2048
    config.eval.num_train_phrases = 512
    config.log_every_steps = 100
    config.eval_every_steps = 1000
    config.checkpoint_every_steps = 1000


def _adam(*, learning_rate: float, schedule: str, warmup_steps: int = 0, b1: float = 0.9) -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.learning_rate = learning_rate
    config.schedule = schedule  # "constant", "exponential" or "cosine"
    config.warmup_steps = warmup_steps
    config.decay_rate = 1.0  # of the exponential schedule: by this factor every decay_steps, continuously
    config.decay_steps = 1
    config.b1 = b1
    config.b2 = 0.999
    config.eps = 1e-7  # Keras' default
    config.clip_norm = 0.0  # global norm of the gradient; 0 leaves it alone
    return config


def _keras_adam(learning_rate: float, *, decay_rate: float, decay_steps: int) -> ml_collections.ConfigDict:
    config = _adam(learning_rate=learning_rate, schedule="exponential")
    config.decay_rate = decay_rate
    config.decay_steps = decay_steps
    return config
