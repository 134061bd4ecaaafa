"""Every field of a configuration: type, range, default and meaning.

The dataclasses are nested like the fields of a `ConfigDict`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

from wae_jax.config.kinds import FIT, NUM_PITCHES, NUM_STEPS, NUM_TRACKS, PerTrack, Range, find_problem, type_hints

_LARGEST = 2**31 - 1  # steps are counted in 32 bits
Count = Annotated[int, Range(0, maximum=_LARGEST)]
Positive = Annotated[int, Range(1, maximum=_LARGEST)]
Width = Annotated[int, Range(1, maximum=2**16)]
Weight = Annotated[float, Range(minimum=0)]
Scale = Annotated[float, Range(above=0)]
Share = Annotated[float, Range(minimum=0, below=1)]
Slope = Annotated[float, Range(minimum=1, maximum=1e6)]
Probability = Annotated[float, Range(minimum=0, maximum=1)]
Tonality = Literal["c", "all"]
# A sample takes 300 kB of memory.
NumSamples = Annotated[int, Range(minimum=0, maximum=100_000)]
KernelSize = tuple[Annotated[int, Range(1, maximum=NUM_STEPS)], Annotated[int, Range(1, maximum=NUM_PITCHES)]]


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """The dataset, and where its phrases are kept."""

    path: str = ""  # a folder made by build_dataset; empty means the built-in corpus
    num_songs: Annotated[int, Range(2, maximum=100_000)] = 512  # of the built-in corpus; one each for two splits
    phrases_per_song: Annotated[int, Range(1, maximum=378)] = 8  # of the built-in corpus; then a song repeats itself
    # Keys of the built-in corpus: "c" for C major and A minor, "all" for all twelve. For a dataset at `path`, a run
    # enters what its dataset.json says.
    tonality: Tonality = "c"
    # Augmentation: the non-drum tracks, by up to this many semitones either way. Six reach every key; more than an
    # octave would take parts out of their register, and notes out of the 84 pitches.
    transpose_semitones: Annotated[int, Range(0, maximum=12)] = 0
    # Augmentation: where the music of a phrase goes on in another one, it begins up to three bars later, at random.
    shift_bars: bool = False
    placement: Literal["auto", "device", "host"] = "auto"  # where the packed phrases are kept while training

    @property
    def is_in_one_tonality(self) -> bool:
        """Whether a model is trained on music in C major and A minor alone."""
        return self.tonality == "c" and not self.transpose_semitones


@dataclasses.dataclass(frozen=True)
class CostSpec:
    """The reconstruction cost c(x, x_hat), a sum over the cells of a phrase."""

    kind: Literal["squared_error", "cross_entropy"] = "squared_error"
    positive_weight: Scale = 2.0  # factor of the cost of active cells; one to two cells in a hundred are active
    onset_weight: Weight = 2.0  # weight of the squared error of note onsets


@dataclasses.dataclass(frozen=True)
class BinaryNeuronSpec:
    """Binary neurons: the cost compares cells that are 0 or 1 instead of probabilities (arXiv 1804.09399)."""

    kind: Literal["none", "deterministic", "stochastic"] = "none"
    gradient: Literal["straight_through", "sigmoid_adjusted"] = "sigmoid_adjusted"
    slope_growth: Slope = 1.25  # of the sigmoid's slope every 1,000 steps, up to max_slope
    max_slope: Slope = 6.0


@dataclasses.dataclass(frozen=True)
class ObjectiveSpec:
    """reconstruction_weight * c(x, x_hat) + penalty_weight * D(Q_z, P_z), with P_z = N(0, prior_variance * I)."""

    cost: CostSpec = CostSpec()
    binary_neurons: BinaryNeuronSpec = BinaryNeuronSpec()
    reconstruction_weight: Weight = 1.0
    penalty: Literal["gan", "mmd", "sliced_wasserstein", "cramer_wold", "kl", "none"] = "gan"
    penalty_weight: Weight = 2.0
    prior_variance: Scale = 1.0
    pretrain_steps: Count = 0  # steps in which only the moments of codes are matched to the prior's
    mmd_kernel: Literal["imq", "rbf"] = "imq"
    # Of kernel "imq", in units of the expected squared distance of two samples of the prior; the kernels are summed.
    mmd_scales: tuple[Scale, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    sliced_num_projections: Width = 64
    cramer_wold_log: bool = False  # minimize the logarithm, as its authors do
    log_variance_penalty_weight: Weight = 0.0  # for encoder "gaussian": arXiv 1802.03761


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Encoder and decoder."""

    network: str = "meter"  # a row of models.networks.NETWORKS
    h_dim: Width = 16  # base number of filters
    z_dim: Width = 32
    kernel_size: KernelSize = (6, 6)  # steps, pitches; for networks without kernel sizes of their own
    encoder: Literal["deterministic", "gaussian", "additive_noise"] = "deterministic"
    encoder_noise: Weight = 0.01  # for "additive_noise": standard deviation of the noise on the input
    normalization: Literal["batch", "layer"] = "batch"
    activation: Literal["relu", "leaky_relu"] = "relu"
    dropout_rate: Share = 0.0
    batch_norm_momentum: Share = 0.9  # a short run must forget its first steps
    output_bias: Literal["density", "zero"] = "density"  # initial probabilities: the tracks' densities, or one half


@dataclasses.dataclass(frozen=True)
class RefinerSpec:
    """Residual units after the decoder, with separate filters for each track (arXiv 1804.09399)."""

    num_units: Annotated[int, Range(0, maximum=100)] = 0  # the paper: two of 64 filters, kernels 3 x 12, no strides
    filters: Width = 8  # number in a unit, for each track
    kernel_size: KernelSize = (12, 12)  # steps, pitches
    strides: tuple[Positive, Positive] = (6, 1)  # steps, pitches


@dataclasses.dataclass(frozen=True)
class DiscriminatorSpec:
    """The latent discriminator of penalty "gan"."""

    widths: tuple[Width, ...] = (256, 256, 256)
    prior_logit: bool = False  # adds log p(z) to its logit, as in tolstikhin/wae


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
    """Adam with a learning-rate schedule."""

    learning_rate: Scale = 1e-3
    schedule: Literal["constant", "exponential", "cosine"] = "constant"
    warmup_steps: Count = 0
    decay_rate: Annotated[float, Range(above=0, maximum=1)] = 1.0  # for "exponential": factor every decay_steps
    decay_steps: Positive = 1
    b1: Share = 0.9
    b2: Share = 0.999
    eps: Scale = 1e-7  # the default of Keras
    clip_norm: Weight = 0.0  # largest global norm of the gradient; 0 for no clipping


@dataclasses.dataclass(frozen=True)
class EvalSpec:
    """Sizes of the evaluations during training."""

    threshold: Probability = 0.5  # for eval/precision, recall and f1, whatever the binarization rule
    num_phrases: Positive = 512  # at most, from the validation split: eval/*
    num_train_phrases: Count = 256  # the first of the training split: eval_train/*
    num_samples: NumSamples = 128  # samples of the prior measured as music: samples/*
    num_shown: Count = 4  # samples and reconstructions written to the folder samples
    num_page_samples: NumSamples = 64  # on the page written at the end, listen.html; 0 for no page


@dataclasses.dataclass(frozen=True)
class BinarizationRule:
    """A rule that turns the probabilities of cells into notes; applied by `generation.binarization`.

    The three parts with a number for each track may be "fit" instead: `generation.calibration` then chooses them so
    that samples of the model are like the training data.

    Attributes:
      method: "hard", above thresholds; or "bernoulli", each cell at random with its probability.
      thresholds: a cell is active if its probability is above the threshold of its track. "fit": as dense as the
        training data.
      min_note_length: steps; shorter notes are dropped.
      short_note_thresholds: a shorter note stays if one of its cells has a probability above this many times the
        threshold; 0 drops all of them. "fit": as many short notes as the training data.
      track_gates: cells; a track is silent throughout a phrase whose expected number of active cells is lower. "fit":
        as many empty bars as the training data.

    Raises:
      ValueError: if a part is out of range, or two parts contradict each other.
    """

    method: Literal["hard", "bernoulli"] = "hard"
    thresholds: PerTrack = (0.5,) * NUM_TRACKS
    min_note_length: Annotated[int, Range(1, maximum=NUM_STEPS)] = 1
    short_note_thresholds: PerTrack = (0.0,) * NUM_TRACKS
    track_gates: PerTrack = (0.0,) * NUM_TRACKS

    def __post_init__(self) -> None:
        for name, expected, is_right in PER_TRACK_PARTS:
            value = getattr(self, name)
            if value != FIT and (len(value) != NUM_TRACKS or not all(map(is_right, value))):
                raise ValueError(f"{name} is {value!r}; expected {NUM_TRACKS} numbers, {expected}, or {FIT!r}")
        for name in ("min_note_length", "method"):
            if wrong := find_problem(type_hints(type(self))[name], getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {wrong}")
        longest = LONGEST_FITTED_SHORT_NOTE + 1
        if self.short_note_thresholds == FIT and self.min_note_length > longest:
            raise ValueError(
                f"min_note_length is {self.min_note_length} and short_note_thresholds {FIT!r}; expected at most "
                f"{longest} steps, or numbers"
            )

    @property
    def fitted_parts(self) -> tuple[str, ...]:
        """The names of the parts that are still to be fitted."""
        if self.method != "hard":
            return ()
        return tuple(name for name, _, _ in PER_TRACK_PARTS if getattr(self, name) == FIT)


# Name, range in words, and the check of one number, for each part with a number for each track.
PER_TRACK_PARTS: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("thresholds", "each between 0 and 1", lambda value: 0 <= value <= 1),
    ("short_note_thresholds", "each at least 1, or 0", lambda value: value == 0 or value >= 1),
    (
        "track_gates",
        f"each between 0 and the {NUM_STEPS * NUM_PITCHES} cells of a track",
        lambda value: 0 <= value <= NUM_STEPS * NUM_PITCHES,
    ),
)
# Short notes are fitted to the training data's shares of notes of each length, counted up to this length in steps.
LONGEST_FITTED_SHORT_NOTE = 12


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a run."""

    seed: Annotated[int, Range(minimum=0, below=2**32)] = 0
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    # A trained model whose weights a new run starts from, as `wae_jax.load` takes it: a workdir (best checkpoint), what
    # `export` wrote, a URL of one, hf://user/name, or "shipped". Empty: random weights.
    init_from: str = ""
    data: DataSpec = DataSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    model: ModelSpec = ModelSpec()
    prior: Literal["normal", "kernel_density"] = "kernel_density"  # what codes are sampled from: P_z, or learned
    refiner: RefinerSpec = RefinerSpec()
    discriminator: DiscriminatorSpec = DiscriminatorSpec()
    autoencoder_optimizer: OptimizerSpec = OptimizerSpec(learning_rate=2e-3, schedule="cosine", warmup_steps=50)
    discriminator_optimizer: OptimizerSpec = OptimizerSpec(learning_rate=2e-4, b1=0.5, schedule="cosine")
    ema_decay: Share = 0.0  # decay of the averaged parameters that are evaluated and sampled; 0 for none
    batch_size: Annotated[int, Range(2, maximum=2**20)] = 32  # of all devices and processes together
    num_epochs: Count = 12
    num_train_steps: Count = 0  # when positive it overrules num_epochs
    # At most this many in one call of the devices, which logs, evaluations and checkpoints end; what is left before one
    # are calls of one step. 0: 1 on CPUs, 8 on accelerators.
    steps_per_call: Count = 0
    log_every_steps: Positive = 25
    # An evaluation with samples, pictures and checkpoint takes as long as 60 to 100 steps of a small network. The last
    # step of a run, or that at which it was stopped, is evaluated or saved in any case.
    eval_every_steps: Positive = 2000
    checkpoint_every_steps: Positive = 2000
    eval: EvalSpec = EvalSpec()
    binarization: BinarizationRule = BinarizationRule(
        thresholds=FIT, min_note_length=3, short_note_thresholds=FIT, track_gates=FIT
    )
    tracker: Literal["none", "wandb", "mlflow", "trackio"] = "none"  # of experiments, beside files and TensorBoard
    best_metric: str = "eval/reconstruction"
    best_mode: Literal["min", "max"] = "min"

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionaries, as `read_config` reads them and JSON holds them."""
        return dataclasses.asdict(self)
