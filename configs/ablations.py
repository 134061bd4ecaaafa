"""Arms of the ablations: WAE-MMD with a few settings changed.

    python -m wae_jax.main --config=configs/ablations.py:latent_dim=64 --workdir=runs/z64
    python launch/sweep.py --table=latent_dim --data=data/free --output=sweeps/free

An arm is named by its settings, joined by commas; "baseline" has none. The baseline is WAE-MMD with z = 16, λ = 100 and
half the squared error as cost. `TABLES` lists the arms of each table, `SETTINGS` all settings. Arms that are trained
alike, such as `latent_dim=16` and the baseline, share one run: see `training_arm`.

The setting `protocol` chooses the sizes:

- `cpu` (default): `meter`, h = 8, batch 32, 1,000 steps: three to five minutes on two cores of a 2.8 GHz Xeon. Tables
  with slower arms set `cpu_steps` for all of them.
- `full`: variant `blog` of `wae_gan.py` (`new_alt`, h = 16, batch 64, 300 epochs), for an accelerator. Not run yet.
"""

import pathlib
import runpy
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

BASELINE = "baseline"

# By path: configs are files, not a package that could be imported from anywhere.
_WAE_GAN = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))

# Weights differ because the scales of the penalties do. For penalties without a discriminator they make a collapse of
# all codes to 0 cost about as much as under WAE-MMD with λ = 100: the penalties are then 1.9, 1, .5 (of 32 codes,
# measured) and 16 (computed) at z = 16. With half the squared error as cost, a weight of 1 makes "kl" the variational
# autoencoder whose cells have variance 1. None has been tuned by training.
REGULARISERS: Mapping[str, Mapping[str, Any]] = {
    "mmd": {"objective.penalty": "mmd", "objective.penalty_weight": 100.0},
    "gan": {"objective.penalty": "gan", "objective.penalty_weight": 5.0},
    "sliced_wasserstein": {"objective.penalty": "sliced_wasserstein", "objective.penalty_weight": 200.0},
    "cramer_wold": {"objective.penalty": "cramer_wold", "objective.penalty_weight": 400.0},
    "sinkhorn": {"objective.penalty": "sinkhorn", "objective.penalty_weight": 10.0},
    "kl": {"objective.penalty": "kl", "objective.penalty_weight": 1.0, "model.encoder": "gaussian"},
    "none": {"objective.penalty": "none", "objective.penalty_weight": 0.0},
}


def _one_of_a_setting(name: str, *values: object) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for value in values)


_RULE = "threshold=fit,min_note_length=3"
_SHORT_NOTES, _GATES = "short_note_threshold=fit", "track_gate=fit"
# Against the fragmentation of samples into short notes.
_REMEDIES = (
    "positive_weight=1",
    "positive_weight=2,onset_weight=2",
    "positive_weight=4",
    "positive_weight=4,onset_weight=2",
    "positive_weight=4,onset_weight=4",
    "binary_neurons=stochastic,positive_weight=4,onset_weight=4",
    "refiner=1,positive_weight=2,onset_weight=2",
    "prior=kernel_density,positive_weight=2,onset_weight=2",
)

# The arms of each table.
TABLES: Mapping[str, tuple[str, ...]] = {
    "regulariser": _one_of_a_setting("regulariser", *REGULARISERS),
    "kernel": _one_of_a_setting("kernel", "imq", "rbf"),
    "penalty_weight": _one_of_a_setting("penalty_weight", 1, 10, 100, 1000),
    "gan_penalty_weight": _one_of_a_setting("regulariser=gan,penalty_weight", 0.5, 5, 50, 100),
    "kl_penalty_weight": _one_of_a_setting("regulariser=kl,penalty_weight", 0.1, 1, 4),
    "cost_weight": _one_of_a_setting("cost_weight", 0.05, 0.5, 1),
    "cost": (
        "cost=squared_error",
        "cost=squared_error,positive_weight=4",
        "cost=cross_entropy,cost_weight=0.1",
        "cost=squared_error,onset_weight=1",
    ),
    "binary_neurons": (
        "binary_neurons=none",
        "binary_neurons=deterministic",
        "binary_neurons=stochastic",
        "binary_neurons=deterministic,gradient=straight_through",
        "binary_neurons=stochastic,gradient=straight_through",
        "binary_neurons=deterministic,slope_growth=1",
        "binary_neurons=deterministic,slope_growth=4",
    ),
    "prior_variance": _one_of_a_setting("prior_variance", 0.25, 1, 4),
    "latent_dim": _one_of_a_setting("latent_dim", 2, 4, 8, 16, 32, 64, 128, 256),
    "filters": _one_of_a_setting("cpu_steps=300,filters", 4, 8, 16, 32),
    "network": _one_of_a_setting("cpu_steps=300,network", "fir", "alt", "new_alt", "newnew", "mus", "meter"),
    "refiner": (
        "cpu_steps=300,refiner=0",
        "cpu_steps=300,refiner=1",
        "cpu_steps=300,refiner=2",
        "cpu_steps=300,refiner=1,binary_neurons=deterministic",
    ),
    "encoder": (
        "encoder=deterministic",
        "encoder=additive_noise",
        "encoder=additive_noise,encoder_noise=0.3",
        "encoder=gaussian",
        "encoder=gaussian,log_variance_weight=1",
    ),
    "prior_logit": _one_of_a_setting("regulariser=gan,prior_logit", "false", "true"),
    "adaptive_weight": _one_of_a_setting("adaptive_weight", "false", "true"),
    "dropout": _one_of_a_setting("dropout", 0, 0.2),
    "output_bias": _one_of_a_setting("output_bias", "density", "zero"),
    "normalization": _one_of_a_setting("normalization", "batch", "layer"),
    "batch_norm_momentum": _one_of_a_setting("batch_norm_momentum", 0.9, 0.99),
    "binarization": _one_of_a_setting("binarization", "hard", "bernoulli"),
    "binarization_rule": (
        "threshold=0.5",
        "threshold=fit",
        "threshold=fit,min_note_length=3",
    ),
    "prior": _one_of_a_setting("prior", "normal", "kernel_density"),
    "fragmentation": (
        "regulariser=gan,latent_dim=32",
        *(f"regulariser=gan,latent_dim=32,{_RULE},{remedy}" for remedy in _REMEDIES),
        f"latent_dim=32,{_RULE},positive_weight=2,onset_weight=2",
    ),
    # By the rule of `wae_gan.py`, in which short notes and track gates are fitted too.
    "fragmentation_fitted": (
        *(f"regulariser=gan,latent_dim=32,{_RULE},{_SHORT_NOTES},{_GATES},{remedy}" for remedy in _REMEDIES),
        f"latent_dim=32,{_RULE},{_SHORT_NOTES},{_GATES},positive_weight=2,onset_weight=2",
        *(
            f"regulariser=gan,latent_dim=32,{_RULE},{each},positive_weight=2,onset_weight=2"
            for each in (_SHORT_NOTES, _GATES)
        ),
    ),
}


def get_config(arm: str = BASELINE) -> ml_collections.ConfigDict:
    """The configuration of an arm: "baseline", or settings such as "regulariser=gan,latent_dim=64,protocol=full"."""
    return _make_config(_parse(arm))


def training_arm(arm: str) -> str:
    """The name of an arm's training run: the same for arms of one protocol that are trained alike.

    The protocol and settings that do not change the configuration are left out; the others are in the order of
    `SETTINGS`. So `latent_dim=16` and `binarization=bernoulli` are both trained as the baseline.
    """
    settings = _parse(arm)
    whole = _make_config(settings).to_dict()
    for name in tuple(settings):
        others = {other: value for other, value in settings.items() if other != name}
        if name != "protocol" and _make_config(others).to_dict() == whole:
            settings = others
    return ",".join(f"{name}={_spell(settings[name])}" for name in SETTINGS if name in settings) or BASELINE


def evaluation_flags(arm: str) -> tuple[str, ...]:
    """Flags of `wae_jax.evaluate` for an arm: the parts of its binarization rule that differ from the baseline's."""
    settings = _parse(arm)
    return tuple(
        f"--{name.replace('_', '-')}={_spell(settings[name])}"
        for name, default in EVALUATION_DEFAULTS.items()
        if settings.get(name, default) != default
    )


def _cpu() -> ml_collections.ConfigDict:
    config = _base("")
    config.model.h_dim = 8
    config.batch_size = 32
    config.num_train_steps = 1000
    config.log_every_steps = 50
    config.eval_every_steps = 500  # an evaluation costs as much as thirty steps
    config.checkpoint_every_steps = 250
    return config


def _full() -> ml_collections.ConfigDict:
    return _base("blog")


def _base(variant: str) -> ml_collections.ConfigDict:
    config = _WAE_GAN["get_config"](variant)
    config.objective.reconstruction_weight = 0.5  # in both protocols, so that λ has the same meaning
    _WAE_GAN["set_plain_cost"](config)
    config.prior = "normal"  # `evaluate --prior=kernel_density` fits one
    config.model.z_dim = 16
    _WAE_GAN["set_plain_binarization"](config)
    _set_regulariser(config, "mmd")
    return config


def _set_regulariser(config: ml_collections.ConfigDict, name: str) -> None:
    for field, value in REGULARISERS[name].items():
        _set(config, field, value)


def _set_cpu_steps(config: ml_collections.ConfigDict, steps: int) -> None:
    # The other protocol counts epochs.
    if config.num_train_steps:
        config.num_train_steps = steps


def _set(config: ml_collections.ConfigDict, path: str, value: Any) -> None:
    """Sets a field by its dotted name."""
    *groups, name = path.split(".")
    for group in groups:
        config = config[group]
    config[name] = value


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


def _boolean(text: str) -> bool:
    return _one_of("false", "true")(text) == "true"


PROTOCOLS: Mapping[str, Callable[[], ml_collections.ConfigDict]] = {"cpu": _cpu, "full": _full}

# The reader of each setting's value, and the function that applies it. They are applied in this order,
# whatever their order in the arm, so that `penalty_weight` overrules the weight that a regulariser brings.
SETTINGS: Mapping[str, tuple[Callable[[str], Any], Callable[[ml_collections.ConfigDict, Any], None]]] = {
    "cpu_steps": (int, _set_cpu_steps),
    "regulariser": (_one_of(*REGULARISERS), _set_regulariser),
    "kernel": (str, _field("objective.mmd_kernel")),
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
    "projections": (int, _field("objective.sliced_num_projections")),
    "prior_logit": (_boolean, _field("discriminator.prior_logit")),
    "adaptive_weight": (_boolean, _field("objective.adaptive_penalty_weight")),
    "dropout": (float, _field("model.dropout_rate")),
    "output_bias": (str, _field("model.output_bias")),
    "normalization": (str, _field("model.normalization")),
    "batch_norm_momentum": (float, _field("model.batch_norm_momentum")),
    # Settings of the evaluation only.
    "binarization": (_one_of("hard", "bernoulli"), lambda config, value: None),
    "threshold": (_number_or_fit, lambda config, value: None),
    "min_note_length": (int, lambda config, value: None),
    "short_note_threshold": (_number_or_fit, lambda config, value: None),
    "track_gate": (_number_or_fit, lambda config, value: None),
    "prior": (_one_of("normal", "kernel_density"), lambda config, value: None),
}

# The value of these settings in the baseline; the flags of `wae_jax.evaluate` have the same names, with hyphens.
EVALUATION_DEFAULTS: Mapping[str, Any] = {
    "binarization": "hard",
    "threshold": 0.5,
    "min_note_length": 1,
    "short_note_threshold": 0.0,
    "track_gate": 0.0,
    "prior": "normal",
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
    return str(value).removesuffix(".0")
