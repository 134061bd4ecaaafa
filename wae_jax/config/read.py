"""From a `ConfigDict`, or a dictionary read from JSON, to the frozen dataclasses of `fields.py`, and back."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wae_jax.config.fields import PER_TRACK_PARTS, Config, ObjectiveSpec
from wae_jax.config.kinds import convert, find_problem, format_per_track, type_hints
from wae_jax.errors import ConfigError

# Only for types and in `default_config`: benchmarks run where jax, flax and optax alone are installed.
if TYPE_CHECKING:
    import ml_collections

# Fields that workdirs and exported files of 0.3.0 lack, by dotted name; their runs had these values, the defaults.
ADDED_FIELDS = {
    "init_from": "",
    "tracker": "none",
    "data.shift_bars": False,
    "objective.mmd_scales": list(ObjectiveSpec().mmd_scales),
}
# Fields that they have and this version lacks, with the value that leaves a run as this version trains it.
REMOVED_FIELDS = {
    "objective.sinkhorn_epsilon": 0.05,
    "objective.adaptive_penalty_weight": False,
    "objective.penalty_warmup_steps": 0,
}

_LARGEST_CORPUS = 1_000_000  # phrases of 10 kB
# Metrics that rank models one way alone; of most metrics of music neither more nor less is better.
_MORE_IS_BETTER = ("eval*/precision", "eval*/recall", "eval*/f1", "samples/precision", "samples/recall", "*/coverage")
_LESS_IS_BETTER = ("eval*/reconstruction", "eval*/code_*_gap", "samples_distance/*", "samples/frechet_distance")


def default_config() -> ml_collections.ConfigDict:
    """The defaults of all fields, for configuration files to change; `read_config` reads the result.

    Numbers for each track are text, as on the command line: "fit", "0.5" or "0.5,0.4,…".
    """
    import ml_collections

    config = ml_collections.ConfigDict(Config().to_dict())
    for name, _, _ in PER_TRACK_PARTS:
        config.binarization[name] = format_per_track(config.binarization[name])
    return config


def read_config(config: Config | Mapping[str, Any] | ml_collections.ConfigDict) -> Config:
    """Reads a configuration.

    Args:
      config: nested, with every field of `Config` but `ADDED_FIELDS`, and with `REMOVED_FIELDS` at their values or
        without them; or a `Config`, which is checked in the same way.

    Raises:
      ConfigError: if a field is unknown, missing, of a wrong type or out of range, or if fields contradict each other;
        the message names all such fields.
    """
    problems: list[str] = []
    given = config if isinstance(config, Mapping) else config.to_dict()
    found = _read(Config, given, "", problems)
    if not problems:
        problems = [problem for check in _CHECKS if (problem := check(found))]
    if problems:
        raise ConfigError("the configuration cannot be run:\n  " + "\n  ".join(problems))
    return found


def flatten_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a nested configuration by dotted name, such as `{"model.z_dim": 32}`, in the same order."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{name}.{inner}": field for inner, field in flatten_config(value).items()})
        else:
            flat[name] = value
    return flat


def comparable_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored configuration by dotted name, as this version would have stored them."""
    fields = {**ADDED_FIELDS, **flatten_config(stored)}
    return {name: value for name, value in fields.items() if REMOVED_FIELDS.get(name, ...) != value}


def allowed_values(field: str) -> str:
    """The values that a field allows, such as "a whole number, at least 1".

    Args:
      field: its dotted name.

    Raises:
      ConfigError: if there is no such field; the message has the nearest name.
    """
    hint: Any = Config
    for name in field.split("."):
        hints = type_hints(typing.cast(type, hint)) if dataclasses.is_dataclass(hint) else {}
        if name not in hints:
            known = list(flatten_config(Config().to_dict()))
            # A field may have been looked for in another group.
            close = [each for each in known if each.rpartition(".")[2] == field.rpartition(".")[2]]
            raise ConfigError(_no_field(field, close or difflib.get_close_matches(field, known, n=1)))
        hint = hints[name]
    return "a group of fields" if dataclasses.is_dataclass(hint) else str(find_problem(hint, None))


def _no_field(name: str, close: list[str]) -> str:
    return f"there is no field {name}" + (f"; did you mean {' or '.join(close)}?" if close else "")


def _read(cls: type, given: Mapping[str, Any], prefix: str, problems: list[str]) -> Any:
    """Reads one dataclass; adds what is wrong to `problems` and uses defaults for it."""
    hints = type_hints(cls)
    for name in given:
        if name not in hints and REMOVED_FIELDS.get(f"{prefix}{name}", ...) != given[name]:
            close = difflib.get_close_matches(name, hints, n=1)
            problems.append(_no_field(f"{prefix}{name}", [f"{prefix}{each}" for each in close]))
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        if name not in given:
            if f"{prefix}{name}" not in ADDED_FIELDS:
                problems.append(f"the field {prefix}{name} is missing")
        elif dataclasses.is_dataclass(hint):
            if isinstance(given[name], Mapping):
                values[name] = _read(typing.cast(type, hint), given[name], f"{prefix}{name}.", problems)
            else:
                problems.append(f"{prefix}{name} is {given[name]!r}; expected a group of fields")
        elif expected := find_problem(hint, given[name]):
            problems.append(f"{prefix}{name} is {given[name]!r}; expected {expected}")
        else:
            values[name] = convert(hint, given[name])
    try:
        return cls(**values)
    except ValueError as error:
        problems.append(f"{prefix}{error}")
        return cls()


def _check_length(config: Config) -> str | None:
    pretrain, steps = config.objective.pretrain_steps, config.num_train_steps
    if not (config.num_epochs or steps):
        return "num_epochs and num_train_steps are both 0: nothing would be trained"
    if steps and pretrain >= steps:
        return (
            f"objective.pretrain_steps is {pretrain} and num_train_steps {steps}, which counts them: only the moments "
            "of codes would be trained; expected more steps, or less pretraining"
        )
    return None


def _check_weights(config: Config) -> str | None:
    objective = config.objective
    has_penalty = objective.penalty != "none" and objective.penalty_weight > 0
    if not (objective.reconstruction_weight or has_penalty or objective.log_variance_penalty_weight):
        return "objective.reconstruction_weight is 0, and so is the penalty's: nothing would be trained"
    return None


def _check_kernel(config: Config) -> str | None:
    if not config.objective.mmd_scales:
        return "objective.mmd_scales is empty; expected one positive number or more"
    return None


def _check_corpus(config: Config) -> str | None:
    data = config.data
    if not data.path and (num := data.num_songs * data.phrases_per_song) > _LARGEST_CORPUS:
        return (
            f"data.num_songs is {data.num_songs} and data.phrases_per_song {data.phrases_per_song}, which makes {num} "
            f"phrases in memory; expected at most {_LARGEST_CORPUS}"
        )
    return None


def _check_best_mode(config: Config) -> str | None:
    for mode, other, names in (("max", "more", _MORE_IS_BETTER), ("min", "less", _LESS_IS_BETTER)):
        if config.best_mode != mode and any(fnmatch.fnmatchcase(config.best_metric, name) for name in names):
            return (
                f"best_mode is {config.best_mode!r}, which keeps the worst checkpoint, since {other} of best_metric "
                f"{config.best_metric!r} is better; expected {mode!r}"
            )
    return None


def _check_layer_norm(config: Config) -> str | None:
    if config.model.normalization == "layer" and config.model.h_dim == 1:
        return (
            "model.h_dim is 1 and model.normalization is 'layer', which leaves nothing of a layer of one channel; "
            "expected a model.h_dim of at least 2, or 'batch'"
        )
    return None


def _check_binary_neurons(config: Config) -> str | None:
    kind, cost = config.objective.binary_neurons.kind, config.objective.cost.kind
    if kind != "none" and cost != "squared_error":
        return (
            f"objective.binary_neurons.kind is {kind!r} and objective.cost.kind {cost!r}, which needs probabilities: "
            "cells that are on or off have none; expected cost.kind 'squared_error', or binary_neurons.kind 'none'"
        )
    return None


def _check_encoder(config: Config) -> str | None:
    for what, is_used in (
        ("objective.penalty 'kl'", config.objective.penalty == "kl"),
        ("an objective.log_variance_penalty_weight above 0", config.objective.log_variance_penalty_weight > 0),
    ):
        if is_used and config.model.encoder != "gaussian":
            return f"{what} needs the variances of model.encoder 'gaussian'; it is {config.model.encoder!r}"
    return None


def _check_prior_logit(config: Config) -> str | None:
    if config.discriminator.prior_logit and config.objective.penalty != "gan":
        return (
            "discriminator.prior_logit needs the discriminator of objective.penalty 'gan'; "
            f"the penalty is {config.objective.penalty!r}"
        )
    return None


_CHECKS: tuple[Callable[[Config], str | None], ...] = (
    _check_length,
    _check_weights,
    _check_kernel,
    _check_corpus,
    _check_best_mode,
    _check_layer_norm,
    _check_binary_neurons,
    _check_encoder,
    _check_prior_logit,
)
