"""The arms of the ablations: `get_config("latent_dim=64")`, or several settings joined by commas.

    python -m wae_jax.main --config=configs/ablations.py:latent_dim=64 --workdir=runs/z64
    python launch/sweep.py --table=latent_dim --data=data/free --output=sweeps/free

An arm is the baseline (WAE-MMD with z = 16, λ = 100 and half the squared error as cost) with the settings that its name
gives; the name of a setting is that of the table it belongs to, but for a table that varies something within another
arm. `TABLES` lists every table's arms. Two arms that mean the same run, such as `latent_dim=16` and the baseline, share
it: see `training_arm`.

Two protocols, which are a setting too (`latent_dim=64,protocol=full`):

- `cpu` (the default): `meter`, h = 8, batch 32, 1,000 steps: three to five minutes on two cores of a 2.8 GHz Xeon, as
  measured for the tables of RESULTS.md; 8 are allowed. Arms that are much slower are compared at fewer steps, which
  `cpu_steps` in their name says, for all arms of their table alike. One seed to screen; three for the best four and the
  baseline.
- `full`: the sizes and epochs of the blog (`blog` in `wae_gan.py`: `new_alt`, h = 16, batch 64, 300 epochs), three
  seeds. For an accelerator; not run yet.
"""

import pathlib
import runpy
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

BASELINE = "baseline"

# By path, since the configs are a folder of files and not a package that could be imported from anywhere.
_WAE_GAN = runpy.run_path(str(pathlib.Path(__file__).with_name("wae_gan.py")))

# The regularisers' weights differ because their scales do. Those of the distances without a player of their own make a
# collapse of all codes to 0 cost about as much as under WAE-MMD at λ = 100: the penalties are then 1.9, 1, .5 (of 32
# codes, measured) and 16 (on paper) at z = 16. That of the adversary is `wae_gan.py`'s at this cost; with half the
# squared error as cost, 1 makes the KL divergence that of a variational autoencoder whose cells have variance 1. None
# has been tuned by training.
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


# A rule for which cells sound, and what `wae_gan.py` has besides.
_RULE = "threshold=density,hold=0.9,min_length=3"
_SHORT, _RESTS = "keep_short=data", "rests=data"
# What may mend the fragments that samples fall into: each beside the first, by one rule.
_CURES = (
    "positive_weight=1",
    "positive_weight=2,onset_weight=2",
    "positive_weight=4",
    "positive_weight=4,onset_weight=2",
    "positive_weight=4,onset_weight=4",
    "output_planes=onsets_and_sustains,positive_weight=2",
    "output_planes=onsets_and_sustains,cost=cross_entropy,cost_weight=0.1",
    "binary_neurons=stochastic,positive_weight=4,onset_weight=4",
    "network=octaves,positive_weight=2,onset_weight=2",
    "network=bars,positive_weight=2,onset_weight=2",
    "refiner=1,positive_weight=2,onset_weight=2",
    "refiner=1,refiner_first_step=700,positive_weight=2,onset_weight=2",
    "latent=mixture,positive_weight=2,onset_weight=2",
)

# Each table of the results, and the arms that are its rows.
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
        "cost=focal,cost_weight=0.5",
        "cost=squared_error,onset_weight=1",
        "cost=squared_error,smoothness_weight=1",
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
    "output_planes": (
        "output_planes=cells",
        "output_planes=onsets_and_sustains",
        "output_planes=onsets_and_sustains,cost=cross_entropy,cost_weight=0.1",
    ),
    "prior_variance": _one_of_a_setting("prior_variance", 0.25, 1, 4),
    "latent_dim": _one_of_a_setting("latent_dim", 2, 4, 8, 16, 32, 64, 128, 256),
    "filters": _one_of_a_setting("cpu_steps=300,filters", 4, 8, 16, 32),
    "network": _one_of_a_setting(
        "cpu_steps=300,network", "fir", "alt", "new_alt", "newnew", "mus", "meter", "octaves", "bars"
    ),
    # The first step of a stage of its own is chosen for the steps of the CPU protocol.
    "refiner": (
        "cpu_steps=300,refiner=0",
        "cpu_steps=300,refiner=1",
        "cpu_steps=300,refiner=2",
        "cpu_steps=300,refiner=1,refiner_first_step=200",
        "cpu_steps=300,refiner=1,binary_neurons=deterministic",
        "cpu_steps=300,refiner=1,refiner_first_step=200,binary_neurons=deterministic",
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
    "binarisation": _one_of_a_setting("binarisation", "hard", "bernoulli"),
    "decision": (
        "threshold=0.5",
        "threshold=density",
        "threshold=density,hold=0.5",
        "threshold=density,min_length=3",
        "threshold=density,hold=0.5,min_length=3",
    ),
    "latent": _one_of_a_setting("latent", "prior", "mixture"),
    "cures": (
        "regulariser=gan,latent_dim=32",
        *(f"regulariser=gan,latent_dim=32,{_RULE},{cure}" for cure in _CURES),
        f"latent_dim=32,{_RULE},positive_weight=2,onset_weight=2",
    ),
    # The same by the rule that is the default.
    "rests": (
        *(f"regulariser=gan,latent_dim=32,{_RULE},{_SHORT},{_RESTS},{cure}" for cure in _CURES),
        f"latent_dim=32,{_RULE},{_SHORT},{_RESTS},positive_weight=2,onset_weight=2",
        *(
            f"regulariser=gan,latent_dim=32,{_RULE},{each},positive_weight=2,onset_weight=2"
            for each in (_SHORT, _RESTS)
        ),
    ),
}


def get_config(arm: str = BASELINE) -> ml_collections.ConfigDict:
    """The configuration of an arm: "baseline", or settings such as "regulariser=gan,latent_dim=64,protocol=full"."""
    settings = _parse(arm)
    return _make_config(settings)


def training_arm(arm: str) -> str:
    """The name of an arm's training run: two arms of one protocol have the same if they are trained alike.

    Settings that leave the configuration as it is are left out, as is the protocol; the others stand in the order of
    `SETTINGS`. So `latent_dim=16` and `binarisation=bernoulli` are both trained as the baseline.
    """
    settings = _parse(arm)
    whole = _make_config(settings).to_dict()
    for name in tuple(settings):
        others = {other: value for other, value in settings.items() if other != name}
        if name != "protocol" and _make_config(others).to_dict() == whole:
            settings = others
    return ",".join(f"{name}={_spell(settings[name])}" for name in SETTINGS if name in settings) or BASELINE


def evaluation_flags(arm: str) -> tuple[str, ...]:
    """What the evaluation of an arm is to be told besides the run: how to decide which cells sound."""
    settings = _parse(arm)
    return tuple(
        f"--{flag}={_spell(settings[name])}"
        for name, (flag, default) in EVALUATION_FLAGS.items()
        if settings.get(name, default) != default
    )


def _cpu() -> ml_collections.ConfigDict:
    config = _base("")
    config.model.h_dim = 8
    config.batch_size = 32
    config.num_train_steps = 1000
    config.log_every_steps = 50
    config.eval_every_steps = 500  # each costs as much as thirty steps
    config.checkpoint_every_steps = 250
    return config


def _full() -> ml_collections.ConfigDict:
    return _base("blog")


def _base(variant: str) -> ml_collections.ConfigDict:
    config = _WAE_GAN["get_config"](variant)
    config.objective.reconstruction_weight = 0.5  # in both protocols, so that λ means the same
    _WAE_GAN["set_plain_cost"](config)
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
    """Sets a field by its dotted name; one that the base lacks is added."""
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


def _threshold(text: str) -> float | str:
    return text if text == "density" else float(text)


def _truth(text: str) -> bool:
    return _one_of("false", "true")(text) == "true"


PROTOCOLS: Mapping[str, Callable[[], ml_collections.ConfigDict]] = {"cpu": _cpu, "full": _full}

# What an arm may set: how its value is read, and what it does to the configuration. They are applied in this order,
# whatever the order in the arm, so that a regulariser brings its weight and `penalty_weight` has the last word.
SETTINGS: Mapping[str, tuple[Callable[[str], Any], Callable[[ml_collections.ConfigDict, Any], None]]] = {
    "cpu_steps": (int, _set_cpu_steps),
    "regulariser": (_one_of(*REGULARISERS), _set_regulariser),
    "kernel": (str, _field("objective.mmd_kernel")),
    "penalty_weight": (float, _field("objective.penalty_weight")),
    "cost": (_one_of("squared_error", "cross_entropy", "focal"), _field("objective.cost.kind")),
    "cost_weight": (float, _field("objective.reconstruction_weight")),
    "positive_weight": (float, _field("objective.cost.positive_weight")),
    "focal_gamma": (float, _field("objective.cost.focal_gamma")),
    "onset_weight": (float, _field("objective.cost.onset_weight")),
    "smoothness_weight": (float, _field("objective.cost.smoothness_weight")),
    "binary_neurons": (_one_of("none", "deterministic", "stochastic"), _field("objective.binary_neurons.kind")),
    "gradient": (_one_of("straight_through", "sigmoid_adjusted"), _field("objective.binary_neurons.gradient")),
    "slope_growth": (float, _field("objective.binary_neurons.slope_growth")),
    "output_planes": (_one_of("cells", "onsets_and_sustains"), _field("model.output_planes")),
    "prior_variance": (float, _field("objective.prior_variance")),
    "latent_dim": (int, _field("model.z_dim")),
    "filters": (int, _field("model.h_dim")),
    "network": (str, _field("model.network")),
    "refiner": (int, _field("refiner.num_units")),
    "refiner_first_step": (int, _field("refiner.first_step")),
    "encoder": (str, _field("model.encoder")),
    "encoder_noise": (float, _field("model.encoder_noise")),
    "log_variance_weight": (float, _field("objective.log_variance_penalty_weight")),
    "projections": (int, _field("objective.sliced_num_projections")),
    "prior_logit": (_truth, _field("discriminator.prior_logit")),
    "adaptive_weight": (_truth, _field("objective.adaptive_penalty_weight")),
    "dropout": (float, _field("model.dropout_rate")),
    "output_bias": (str, _field("model.output_bias")),
    "normalization": (str, _field("model.normalization")),
    "batch_norm_momentum": (float, _field("model.batch_norm_momentum")),
    # Matters of evaluation alone.
    "binarisation": (_one_of("hard", "bernoulli"), lambda config, value: None),
    "threshold": (_threshold, lambda config, value: None),
    "hold": (float, lambda config, value: None),
    "min_length": (int, lambda config, value: None),
    "keep_short": (_one_of("none", "data"), lambda config, value: None),
    "rests": (_one_of("none", "data"), lambda config, value: None),
    "latent": (_one_of("prior", "mixture"), lambda config, value: None),
}

# The flags of `wae_jax.evaluate` for the last ones, and what the baseline has.
EVALUATION_FLAGS: Mapping[str, tuple[str, Any]] = {
    "binarisation": ("binarize", "hard"),
    "threshold": ("threshold", 0.5),
    "hold": ("hold", 1.0),
    "min_length": ("min-length", 1),
    "keep_short": ("keep-short", "none"),
    "rests": ("rests", "none"),
    "latent": ("latent", "prior"),
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
                f"{setting!r} in the arm {arm!r} is no setting; expected name=value, where the name is one of "
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
    """A value as an arm's name has it, however it was written."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")
