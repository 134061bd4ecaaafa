"""What a configuration may hold: every field, its type and its range, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from wae_jax.data.pipeline import PLACEMENTS
from wae_jax.data.statistics import LONGEST_SHORT
from wae_jax.errors import ConfigError
from wae_jax.generation.binarization import DATA, DENSITY, METHODS, NONE
from wae_jax.models import binary_neurons
from wae_jax.models.autoencoder import ENCODERS, NORMALIZATIONS
from wae_jax.models.modules import ACTIVATIONS
from wae_jax.models.networks import NETWORKS, find_network
from wae_jax.objective.reconstruction import COSTS
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS
from wae_jax.pianoroll.note_planes import CELLS, OUTPUT_PLANES
from wae_jax.training.workdir import flatten_config


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number of at least `minimum`."""

    minimum: int = 0

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        right = isinstance(value, int) and not isinstance(value, bool) and value >= self.minimum
        return None if right else f"a whole number of at least {self.minimum}"


@dataclasses.dataclass(frozen=True)
class Boolean:
    """Yes or no."""

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        return None if isinstance(value, bool) else "True or False"


@dataclasses.dataclass(frozen=True)
class Real:
    """A finite number between bounds."""

    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if is_number and self.minimum <= value <= self.maximum and self.above < value < self.below:
            return None
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.minimum),
                ("above", self.above),
                ("at most", self.maximum),
                ("below", self.below),
            )
            if math.isfinite(bound)
        ]
        return " ".join(["a number", " and ".join(bounds)]).strip()


@dataclasses.dataclass(frozen=True)
class Text:
    """Any text."""

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        return None if isinstance(value, str) else "text"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        return None if value in self.options else "one of " + ", ".join(map(repr, self.options))


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Several values of one kind: exactly `length`, or any number where that is None."""

    kind: Integer
    length: int | None = None

    def problem(self, value: Any) -> str | None:
        """Says what would be right, or None."""
        right = (
            isinstance(value, list | tuple)
            and (self.length is None or len(value) == self.length)
            and not any(self.kind.problem(item) for item in value)
        )
        count = "any number of" if self.length is None else self.length
        return None if right else f"a sequence of {count} values, each {self.kind.problem(None)}"


def _adam_fields(prefix: str) -> dict[str, Any]:
    fields = {
        "learning_rate": Real(above=0),
        "schedule": Choice(("constant", "exponential", "cosine")),
        "warmup_steps": Integer(),
        "decay_rate": Real(above=0, maximum=1),
        "decay_steps": Integer(1),
        "b1": Real(minimum=0, below=1),
        "b2": Real(minimum=0, below=1),
        "eps": Real(above=0),
        "clip_norm": Real(minimum=0),
    }
    return {f"{prefix}.{name}": kind for name, kind in fields.items()}


FIELDS = {
    "seed": Integer(),
    "dtype": Choice(("float32", "bfloat16", "float64")),
    "data.path": Text(),
    "data.num_songs": Integer(1),
    "data.phrases_per_song": Integer(1),
    "data.transpose_semitones": Integer(),
    "data.placement": Choice(PLACEMENTS),
    "penalty": Choice(("gan", "mmd", "sliced_wasserstein", "cramer_wold", "kl", "sinkhorn", "none")),
    "cost.kind": Choice(COSTS),
    "cost.positive_weight": Real(above=0),
    "cost.focal_gamma": Real(minimum=0),
    "cost.onset_weight": Real(minimum=0),
    "cost.smoothness_weight": Real(minimum=0),
    "binary_neurons.kind": Choice(binary_neurons.KINDS),
    "binary_neurons.gradient": Choice(binary_neurons.GRADIENTS),
    "binary_neurons.slope_growth": Real(minimum=1),
    "binary_neurons.max_slope": Real(minimum=1),
    "reconstruction_weight": Real(minimum=0),
    "penalty_weight": Real(minimum=0),
    "penalty_warmup_steps": Integer(),
    "prior_variance": Real(above=0),
    "pretrain_steps": Integer(),
    "adaptive_penalty_weight": Boolean(),
    "mmd_kernel": Choice(("imq", "rbf")),
    "sliced_num_projections": Integer(1),
    "cramer_wold_log": Boolean(),
    "sinkhorn_epsilon": Real(above=0),
    "encoder": Choice(ENCODERS),
    "encoder_noise": Real(minimum=0),
    "log_variance_penalty_weight": Real(minimum=0),
    "model.network": Choice(tuple(NETWORKS)),
    "model.h_dim": Integer(1),
    "model.z_dim": Integer(1),
    "model.kernel_size": Sequence(Integer(1), length=2),
    "model.normalization": Choice(NORMALIZATIONS),
    "model.activation": Choice(tuple(ACTIVATIONS)),
    "model.dropout_rate": Real(minimum=0, below=1),
    "model.batch_norm_momentum": Real(minimum=0, below=1),
    "model.output_bias": Choice(("density", "zero")),
    "model.output_planes": Choice(tuple(OUTPUT_PLANES)),
    "refiner.num_units": Integer(),
    "refiner.filters": Integer(1),
    "refiner.kernel_size": Sequence(Integer(1), length=2),
    "refiner.strides": Sequence(Integer(1), length=2),
    "refiner.first_step": Integer(),
    "discriminator.widths": Sequence(Integer(1)),
    "discriminator.prior_logit": Boolean(),
    **_adam_fields("autoencoder_optimizer"),
    **_adam_fields("discriminator_optimizer"),
    "ema_decay": Real(minimum=0, below=1),
    "batch_size": Integer(2),
    "num_epochs": Integer(),
    "num_train_steps": Integer(),
    "steps_per_call": Integer(),
    "log_every_steps": Integer(1),
    "eval_every_steps": Integer(1),
    "checkpoint_every_steps": Integer(1),
    "eval.threshold": Real(minimum=0, maximum=1),
    "eval.num_phrases": Integer(1),
    "eval.num_train_phrases": Integer(),
    "eval.num_samples": Integer(),
    "eval.num_draws": Integer(),
    "eval.num_page_draws": Integer(),
    "decision.method": Choice(METHODS),
    "decision.thresholds": Choice(("fixed", DENSITY)),
    "decision.hold": Real(minimum=0, maximum=1),
    "decision.close_gaps": Integer(),
    "decision.min_length": Integer(1),
    "decision.keep_short": Choice((NONE, DATA)),
    "decision.rests": Choice((NONE, DATA)),
    "best_metric": Text(),
    "best_mode": Choice(("min", "max")),
}


# Fields that came after the first runs, with the value that leaves the training as it was before there were any.
_ADDED = {
    ("data", "placement"): "auto",
    ("", "steps_per_call"): 0,
    ("", "adaptive_penalty_weight"): False,
    ("", "sliced_num_projections"): 64,
    ("", "cramer_wold_log"): False,
    ("", "sinkhorn_epsilon"): 0.05,
    ("", "encoder"): "deterministic",
    ("", "encoder_noise"): 0.01,
    ("", "log_variance_penalty_weight"): 0.0,
    ("discriminator", "prior_logit"): False,
    ("eval", "num_draws"): 128,
    ("eval", "num_page_draws"): 64,
    ("decision", "method"): "hard",
    ("decision", "thresholds"): "fixed",
    ("decision", "hold"): 1.0,
    ("decision", "close_gaps"): 0,
    ("decision", "min_length"): 1,
    ("decision", "keep_short"): NONE,
    ("decision", "rests"): NONE,
    ("cost", "kind"): "squared_error",
    ("cost", "positive_weight"): 1.0,
    ("cost", "focal_gamma"): 2.0,
    ("cost", "onset_weight"): 0.0,
    ("cost", "smoothness_weight"): 0.0,
    ("binary_neurons", "kind"): "none",
    ("binary_neurons", "gradient"): "sigmoid_adjusted",
    ("binary_neurons", "slope_growth"): 1.25,
    ("binary_neurons", "max_slope"): 6.0,
    ("model", "output_planes"): CELLS,
    ("refiner", "num_units"): 0,
    ("refiner", "filters"): 8,
    ("refiner", "kernel_size"): (12, 12),
    ("refiner", "strides"): (6, 1),
    ("refiner", "first_step"): 0,
}


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with the fields of `_ADDED`, where it was stored before there were any."""
    complete = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for (section, name), value in _ADDED.items():
        (complete.setdefault(section, {}) if section else complete).setdefault(name, value)
    return complete


def check_config(config: Mapping[str, Any]) -> None:
    """Raises ConfigError that names every field that is unknown, missing, of a wrong type or out of range."""
    given = flatten_config(config)
    problems = []
    for name in given:
        if name not in FIELDS:
            close = difflib.get_close_matches(name, FIELDS, n=1)
            problems.append(f"there is no field {name}" + (f"; did you mean {close[0]}?" if close else ""))
    for name, kind in FIELDS.items():
        if name not in given:
            problems.append(f"the field {name} is missing")
        elif expected := kind.problem(given[name]):
            problems.append(f"{name} is {given[name]!r}; expected {expected}")
    if not problems:
        problems = _problems_between_fields(config)
    if problems:
        raise ConfigError("the configuration cannot be run:\n  " + "\n  ".join(problems))


def _problems_between_fields(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with fields that are each right by themselves."""
    problems = []
    if not (config["num_epochs"] or config["num_train_steps"]):
        problems.append("num_epochs and num_train_steps are both 0: nothing would be trained")
    try:
        find_network(config["model"]["network"], dropout_rate=config["model"]["dropout_rate"])
    except ValueError as error:
        problems.append(str(error))
    if config["model"]["normalization"] == "layer" and config["model"]["h_dim"] == 1:
        problems.append(
            "model.h_dim is 1 and model.normalization is 'layer', which leaves nothing of a layer of one channel; "
            "expected a model.h_dim of at least 2, or 'batch'"
        )
    if config["binary_neurons"]["kind"] != "none" and config["cost"]["kind"] != "squared_error":
        problems.append(
            f"binary_neurons.kind is {config['binary_neurons']['kind']!r} and cost.kind {config['cost']['kind']!r}, "
            "which asks for the probability of what is so: cells that are on or off have none; "
            "expected cost.kind 'squared_error', or binary_neurons.kind 'none'"
        )
    if config["binary_neurons"]["kind"] != "none" and config["model"]["output_planes"] != CELLS:
        problems.append(
            f"binary_neurons.kind is {config['binary_neurons']['kind']!r} and model.output_planes "
            f"{config['model']['output_planes']!r}: a cell may be likely to sound and neither of its planes fire; "
            "expected model.output_planes 'cells', or binary_neurons.kind 'none'"
        )
    if config["decision"]["keep_short"] == DATA and config["decision"]["min_length"] > LONGEST_SHORT + 1:
        problems.append(
            f"decision.min_length is {config['decision']['min_length']} and decision.keep_short {DATA!r}; "
            f"expected at most {LONGEST_SHORT + 1} steps, or a decision.keep_short of {NONE!r}"
        )
    strides = config["refiner"]["strides"]
    if NUM_STEPS % strides[0] or NUM_PITCHES % strides[1]:
        problems.append(
            f"refiner.strides is {strides!r}; expected divisors of {NUM_STEPS} steps and of {NUM_PITCHES} pitches"
        )
    if config["refiner"]["first_step"] and not config["refiner"]["num_units"]:
        problems.append(
            f"refiner.first_step is {config['refiner']['first_step']} and refiner.num_units 0: from then on nothing "
            "would be trained; expected a refiner.num_units of at least 1, or a refiner.first_step of 0"
        )
    for what, is_used in (
        ("penalty 'kl'", config["penalty"] == "kl"),
        ("a log_variance_penalty_weight above 0", config["log_variance_penalty_weight"] > 0),
    ):
        if is_used and config["encoder"] != "gaussian":
            problems.append(f"{what} needs the variances of encoder 'gaussian'; encoder is {config['encoder']!r}")
    if config["discriminator"]["prior_logit"] and config["penalty"] != "gan":
        problems.append(
            f"discriminator.prior_logit needs the discriminator of penalty 'gan'; penalty is {config['penalty']!r}"
        )
    if config["adaptive_penalty_weight"] and not (config["penalty"] != "none" and config["penalty_weight"] > 0):
        problems.append(
            "adaptive_penalty_weight needs a penalty other than 'none' and a penalty_weight above 0 to start from; "
            f"they are {config['penalty']!r} and {config['penalty_weight']!r}"
        )
    return problems
