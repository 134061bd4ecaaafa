"""Arms of the ablations: WAE-MMD with a few settings changed.

    python -m wae_jax.main --config=configs/ablations.py:latent_dim=64 --workdir=runs/z64
    python launch/sweep.py --table=latent_dim --output=sweeps/corpus
    python launch/sweep.py --table=latent_dim --protocol=songs --data=data/free_split --output=sweeps/songs

An arm is named by its settings, joined by commas; "baseline" has none and is `wae_mmd.py` with the protocol's number of
epochs. `TABLES` lists the arms of each table, `SETTINGS` all settings. Arms that are trained alike, such as
`latent_dim=32` and the baseline, share one run: see `training_arm`.

The setting `protocol` chooses data and sizes:

- `cpu` (default): the default variant, built-in corpus, 6 of its 12 epochs. Samples then cover held-out songs nearly as
  well as after 12.
- `songs`: the variant `songs`, 8 of its 64 epochs, for songs of one's own.
- `full`: the variant `blog` (`new_alt`, h = 32, z = 8, 300 epochs), for an accelerator. Not run yet.
"""

import pathlib
import runpy
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

BASELINE = "baseline"

# By path: configs are files, not a package that could be imported from anywhere.
_WAE_MMD = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_mmd.py")))

# Weights differ because the scales of the penalties do. For penalties without a discriminator these make a collapse of
# all codes to 0 cost about as much as under WAE-MMD with λ = 100.
REGULARIZERS: Mapping[str, Mapping[str, Any]] = {
    "mmd": {"objective.penalty": "mmd", "objective.penalty_weight": 100.0},
    "gan": {"objective.penalty": "gan", "objective.penalty_weight": 1.0},
    "sliced_wasserstein": {"objective.penalty": "sliced_wasserstein", "objective.penalty_weight": 200.0},
    "cramer_wold": {"objective.penalty": "cramer_wold", "objective.penalty_weight": 400.0},
    # With half the squared error as cost, the variational autoencoder whose cells have variance 1.
    "kl": {"objective.penalty": "kl", "objective.penalty_weight": 1.0, "model.encoder": "gaussian"},
    "none": {"objective.penalty": "none", "objective.penalty_weight": 0.0},
}
_OWN_WEIGHTS = {name: fields["objective.penalty_weight"] for name, fields in REGULARIZERS.items()}
PENALTY_WEIGHTS: Mapping[str, tuple[float, ...]] = {
    name: (own / 10, own, own * 10) for name, own in _OWN_WEIGHTS.items() if own
}


def _one_of_a_setting(name: str, *values: object) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for value in values)


_PLAIN = "min_note_length=1,short_note_threshold=0,track_gate=0"
_RANDOM_ENCODERS = ("encoder=additive_noise,encoder_noise=0.3", "encoder=gaussian,log_variance_weight=1")

# The arms of each table.
TABLES: Mapping[str, tuple[str, ...]] = {
    # Each with that of three weights whose samples come nearest to the validation songs: table `penalty_weight`, seed 0
    # of the protocol `cpu`. A weight of 1 makes "kl" the variational autoencoder.
    "regularizer": (
        *_one_of_a_setting("regularizer", "mmd", "gan", "cramer_wold", "kl", "none"),
        "regularizer=sliced_wasserstein,penalty_weight=20",
        "regularizer=kl,penalty_weight=0.1",
    ),
    # The same for real songs, by the protocol `songs`.
    "regularizer_of_songs": (
        *_one_of_a_setting("regularizer", "mmd", "cramer_wold", "kl", "none", "sliced_wasserstein"),
        "regularizer=gan,penalty_weight=0.1",
        "regularizer=kl,penalty_weight=0.1",
    ),
    "penalty_weight": tuple(
        f"regularizer={name},penalty_weight={weight:g}"
        for name, weights in PENALTY_WEIGHTS.items()
        for weight in weights
    ),
    # A sum of seven kernels weighs as much as seven times one.
    "kernel": (
        "kernel=imq",
        *_one_of_a_setting("penalty_weight=700,scales", 0.1, 1, 10),
        "penalty_weight=700,kernel=rbf",
    ),
    "latent_dim": (
        *_one_of_a_setting("latent_dim", 2, 8, 32, 128),
        *(f"latent_dim={z_dim},{encoder}" for encoder in _RANDOM_ENCODERS for z_dim in (2, 8, 32, 128)),
    ),
    "prior_variance": _one_of_a_setting("prior_variance", 0.25, 1, 4),
    "prior": _one_of_a_setting("prior", "kernel_density", "normal"),
    "cost": (
        "positive_weight=2,onset_weight=2",
        "positive_weight=1,onset_weight=0",
        "positive_weight=2,onset_weight=0",
        "positive_weight=1,onset_weight=2",
        "positive_weight=4,onset_weight=4",
        "cost=cross_entropy,cost_weight=0.1",
    ),
    "cost_weight": _one_of_a_setting("cost_weight", 0.05, 0.5, 5),
    "network": _one_of_a_setting("network", "meter", "fir", "alt", "new_alt", "newnew", "mus"),
    "filters": _one_of_a_setting("filters", 8, 16, 32),
    "binarization": (
        "threshold=fit",
        "short_note_threshold=0",
        "short_note_threshold=0,min_note_length=1",
        "track_gate=0",
        f"threshold=0.5,{_PLAIN}",
        "binarization=bernoulli,min_note_length=1",
    ),
    "binary_neurons": (
        "binary_neurons=none",
        "binary_neurons=deterministic",
        "binary_neurons=stochastic",
        "binary_neurons=deterministic,gradient=straight_through",
        "binary_neurons=stochastic,gradient=straight_through",
        "refiner=2",
        "refiner=2,binary_neurons=deterministic",
    ),
    "training": (
        "pretrain_steps=0",
        "pretrain_steps=200",
        "regularizer=gan",
        "regularizer=gan,prior_logit=true",
    ),
    "shift_bars": _one_of_a_setting("shift_bars", "false", "true"),
    "transpose": _one_of_a_setting("transpose", 0, 2),
    "dropout": _one_of_a_setting("dropout", 0, 0.2, 0.4),
    "averaging": _one_of_a_setting("averaging", 0, 0.998),
    "details": (
        "normalization=batch",
        "normalization=layer",
        "output_bias=zero",
        "batch_norm_momentum=0.99",
    ),
}


def get_config(arm: str = BASELINE) -> ml_collections.ConfigDict:
    """The configuration of an arm: "baseline", or settings such as "regularizer=gan,latent_dim=64,protocol=songs"."""
    return _make_config(_parse(arm))


def training_arm(arm: str) -> str:
    """The name of an arm's training run: the same for arms of one protocol that are trained alike.

    The protocol and settings that do not change the configuration are left out; the others are in the order of
    `SETTINGS`. So `latent_dim=32` and `binarization=bernoulli` are both trained as the baseline.
    """
    settings = _parse(arm)
    whole = _make_config(settings).to_dict()
    for name in tuple(settings):
        others = {other: value for other, value in settings.items() if other != name}
        if name != "protocol" and _make_config(others).to_dict() == whole:
            settings = others
    return ",".join(f"{name}={_spell(settings[name])}" for name in SETTINGS if name in settings) or BASELINE


def evaluation_flags(arm: str) -> tuple[str, ...]:
    """Flags of `wae_jax.evaluate` for an arm: the parts of its evaluation that differ from the baseline's."""
    settings = _parse(arm)
    config = _make_config(settings)
    return tuple(
        f"--{name.replace('_', '-')}={_spell(settings[name])}"
        for name, field in EVALUATION_FIELDS.items()
        if name in settings and _spell(settings[name]) != _spell(_get(config, field))
    )


def _cpu() -> ml_collections.ConfigDict:
    config = _WAE_MMD["get_config"]()
    config.num_epochs = 6
    return _evaluated_once(config)


def _songs() -> ml_collections.ConfigDict:
    config = _WAE_MMD["get_config"]("songs")
    config.num_epochs = 8
    return _evaluated_once(config)


def _full() -> ml_collections.ConfigDict:
    config = _WAE_MMD["get_config"]("blog")
    # As in the other protocols, so that λ has the same meaning, and that samples are made alike.
    config.objective.reconstruction_weight = 0.5
    default = _WAE_MMD["get_config"]()
    config.binarization, config.prior = default.binarization, default.prior
    return config


def _evaluated_once(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    # Runs are evaluated after their training, at the last checkpoint.
    config.eval_every_steps = config.checkpoint_every_steps = 100_000
    config.eval.num_page_samples = 0
    return config


def _set_regularizer(config: ml_collections.ConfigDict, name: str) -> None:
    for field, value in REGULARIZERS[name].items():
        _set(config, field, value)


def _set(config: ml_collections.ConfigDict, path: str, value: Any) -> None:
    """Sets a field by its dotted name."""
    *groups, name = path.split(".")
    for group in groups:
        config = config[group]
    config[name] = value


def _get(config: ml_collections.ConfigDict, path: str) -> Any:
    """The value of a field by its dotted name."""
    *groups, name = path.split(".")
    for group in groups:
        config = config[group]
    return config[name]


def _ignore(config: ml_collections.ConfigDict, value: Any) -> None:
    """Leaves the training as it is."""


def _field(path: str) -> Callable[[ml_collections.ConfigDict, Any], None]:
    return lambda config, value: _set(config, path, value)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return parse


def _number_or_fit(text: str) -> float | str:
    return text if text == "fit" else float(text)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split("+")))


def _boolean(text: str) -> bool:
    return _one_of("false", "true")(text) == "true"


PROTOCOLS: Mapping[str, Callable[[], ml_collections.ConfigDict]] = {"cpu": _cpu, "songs": _songs, "full": _full}

# The reader of each setting's value, and the function that applies it. They are applied in this order,
# whatever their order in the arm, so that `penalty_weight` overrules the weight that a regularizer brings.
SETTINGS: Mapping[str, tuple[Callable[[str], Any], Callable[[ml_collections.ConfigDict, Any], None]]] = {
    "regularizer": (_one_of(*REGULARIZERS), _set_regularizer),
    "kernel": (str, _field("objective.mmd_kernel")),
    "scales": (_numbers, _field("objective.mmd_scales")),
    "penalty_weight": (float, _field("objective.penalty_weight")),
    "cost": (_one_of("squared_error", "cross_entropy"), _field("objective.cost.kind")),
    "cost_weight": (float, _field("objective.reconstruction_weight")),
    "positive_weight": (float, _field("objective.cost.positive_weight")),
    "onset_weight": (float, _field("objective.cost.onset_weight")),
    "binary_neurons": (_one_of("none", "deterministic", "stochastic"), _field("objective.binary_neurons.kind")),
    "gradient": (_one_of("straight_through", "sigmoid_adjusted"), _field("objective.binary_neurons.gradient")),
    "slope_growth": (float, _field("objective.binary_neurons.slope_growth")),
    "prior_variance": (float, _field("objective.prior_variance")),
    "latent_dim": (int, _field("model.z_dim")),
    "filters": (int, _field("model.h_dim")),
    "network": (str, _field("model.network")),
    "refiner": (int, _field("refiner.num_units")),
    "encoder": (str, _field("model.encoder")),
    "encoder_noise": (float, _field("model.encoder_noise")),
    "log_variance_weight": (float, _field("objective.log_variance_penalty_weight")),
    "prior_logit": (_boolean, _field("discriminator.prior_logit")),
    "pretrain_steps": (int, _field("objective.pretrain_steps")),
    "shift_bars": (_boolean, _field("data.shift_bars")),
    "transpose": (int, _field("data.transpose_semitones")),
    "averaging": (float, _field("ema_decay")),
    "dropout": (float, _field("model.dropout_rate")),
    "output_bias": (str, _field("model.output_bias")),
    "normalization": (str, _field("model.normalization")),
    "batch_norm_momentum": (float, _field("model.batch_norm_momentum")),
    # Settings of the evaluation only.
    "binarization": (_one_of("hard", "bernoulli"), _ignore),
    "threshold": (_number_or_fit, _ignore),
    "min_note_length": (int, _ignore),
    "short_note_threshold": (_number_or_fit, _ignore),
    "track_gate": (_number_or_fit, _ignore),
    "prior": (_one_of("normal", "kernel_density"), _ignore),
}
# The fields whose values the evaluation uses without the setting. Flags of `wae_jax.evaluate` have the settings' names,
# with hyphens.
EVALUATION_FIELDS: Mapping[str, str] = {
    "binarization": "binarization.method",
    "threshold": "binarization.thresholds",
    "min_note_length": "binarization.min_note_length",
    "short_note_threshold": "binarization.short_note_thresholds",
    "track_gate": "binarization.track_gates",
    "prior": "prior",
}


def _make_config(settings: Mapping[str, Any]) -> ml_collections.ConfigDict:
    config = PROTOCOLS[settings.get("protocol", "cpu")]()
    for name, (_, change) in SETTINGS.items():
        if name in settings:
            change(config, settings[name])
    return config


def _parse(arm: str) -> dict[str, Any]:
    """The settings of an arm by name.

    Raises:
      ValueError: if one is unknown, given twice, or its value cannot be read.
    """
    readers = {"protocol": _one_of(*PROTOCOLS), **{name: read for name, (read, _) in SETTINGS.items()}}
    settings: dict[str, Any] = {}
    for setting in arm.split(","):
        if setting == BASELINE or (not setting and not arm):
            continue
        name, equals, text = setting.partition("=")
        if name not in readers or not equals:
            raise ValueError(
                f"{setting!r} in the arm {arm!r} is not a setting; expected name=value with a name of "
                f"{', '.join(readers)}"
            )
        if name in settings:
            raise ValueError(f"the arm {arm!r} sets {name} twice")
        try:
            settings[name] = readers[name](text)
        except ValueError as error:
            raise ValueError(f"the arm {arm!r} sets {name} to {text!r}: {error}") from error
    return settings


def _spell(value: Any) -> str:
    """A value as it is written in the name of an arm."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "+".join(map(_spell, value))
    return str(value).removesuffix(".0")
