"""The weights that a new run starts from where its configuration names a trained model, `init_from`."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import flax.traverse_util
import jax
import numpy as np

from wae_jax.config import Config, flatten_config
from wae_jax.errors import ConfigError, UserError
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.state import TrainState, train_state_shapes

_LOG = logging.getLogger(__name__)

# Fields that shapes of weights depend on.
_SHAPING = (
    *(f"model.{name}" for name in ("network", "h_dim", "z_dim", "kernel_size", "encoder", "normalization")),
    *(f"refiner.{name}" for name in ("num_units", "filters", "kernel_size")),
    "discriminator.widths",
)
# Fields that make another network of the same shapes.
_UNSEEN = ("model.network", "model.activation", "refiner.strides")


@runtime_checkable  # annotations are checked in tests
class TrainedModel(Protocol):
    """The parts of a trained model that a run starts from; `generation.model.Model` has them.

    Attributes:
      config: the configuration of its training.
      variables: of its autoencoder, as it is evaluated and sampled from: {"params": ..., "batch_stats": ...}.
      discriminator: parameters of its latent discriminator; None if it is not known.
      step: training steps it has seen.
      digest: identifies its content.
    """

    @property
    def config(self) -> Config: ...  # noqa: D102
    @property
    def variables(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def discriminator(self) -> Mapping[str, Any] | None: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102


def open_initial(
    config: Config, checkpoints: pathlib.Path, load_model: Callable[[str], TrainedModel] | None
) -> TrainedModel | None:
    """The model whose weights a run starts from; None for random weights, and for a run that resumes.

    Args:
      config: of the run.
      checkpoints: the folder of its checkpoints, of which a run that resumes has one.
      load_model: opens the model that `init_from` names, and raises UserError; None where the program has no such
        function.

    Raises:
      ConfigError: if the model cannot be opened, or is of another network.
    """
    if not config.init_from:
        return None
    with Checkpointer(checkpoints, read_only=True) as found:
        if found.all_steps():
            return None
    if load_model is None:
        raise ConfigError(
            f"init_from is {config.init_from!r}, and this program opens no trained models; pass wae_jax.hooks.HOOKS to "
            "train_and_evaluate, or set init_from to ''"
        )
    try:
        model = load_model(config.init_from)
    except UserError as error:
        raise ConfigError(
            f"init_from is {config.init_from!r}, neither 'shipped' nor a model that can be opened: {error}"
        ) from error
    _check_network(config, model)
    _LOG.info("starting from the weights of %s, %s, step %d", config.init_from, model.digest[:12], model.step)
    return model


def start_from(state: TrainState, model: TrainedModel) -> TrainState:
    """The state before the first step with the weights of a model, on the host.

    Averaged parameters start from them too; optimizers are fresh. The discriminator stays as it is if that of the model
    is not known.
    """
    params = _like(state.autoencoder.params, model.variables["params"])
    batch_stats = _like(state.autoencoder.batch_stats, model.variables["batch_stats"])
    discriminator = state.discriminator
    if discriminator.params and model.discriminator:
        discriminator = dataclasses.replace(discriminator, params=_like(discriminator.params, model.discriminator))
    return dataclasses.replace(
        state,
        autoencoder=dataclasses.replace(state.autoencoder, params=params, batch_stats=batch_stats),
        discriminator=discriminator,
        # A copy: a step that takes over the memory of the state must not be given the same array twice.
        ema_params=_like(state.ema_params, params) if state.ema_params else {},
    )


def _like(target: Any, weights: Any) -> Any:
    """A copy of the weights as NumPy arrays, in the structure and the types of `target`."""
    return jax.tree.map(lambda leaf, weight: np.array(weight, leaf.dtype), target, weights)


def _check_network(config: Config, model: TrainedModel) -> None:
    """Raises ConfigError, with the first parameter that differs, unless the model has the network of the run."""
    shapes = train_state_shapes(config)
    here: dict[str, Any] = {"params": shapes.autoencoder.params, "batch_stats": shapes.autoencoder.batch_stats}
    there = dict(model.variables)
    if shapes.discriminator.params and model.discriminator:
        here["discriminator"], there["discriminator"] = shapes.discriminator.params, model.discriminator
    mine, theirs = (_shapes(each) for each in (here, there))
    different = next((name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)), None)
    fields = _differing_fields(config, model, _SHAPING if different else _UNSEEN)
    source = f"init_from is {config.init_from!r}"
    flags = " ".join(shlex.quote(f"--config.{name}={value}".replace(", ", ",")) for name, value in fields.items())
    if different:
        raise ConfigError(
            f"{source}, whose {different} is {_describe(theirs.get(different))} where that of this run is "
            f"{_describe(mine.get(different))}; expected the same network" + (f": {flags}" if flags else "")
        )
    if fields:
        raise ConfigError(f"{source}, whose weights are of another network; expected the same: {flags}")


def _differing_fields(config: Config, model: TrainedModel, names: tuple[str, ...]) -> dict[str, Any]:
    """The model's values of the named fields that have an effect and differ from those of the run."""
    mine, theirs = (flatten_config(each.to_dict()) for each in (config, model.config))
    has_refiner = bool(theirs["refiner.num_units"])
    effective = [name for name in names if has_refiner or name == "refiner.num_units" or "refiner." not in name]
    return {name: theirs[name] for name in effective if theirs[name] != mine[name]}


def _shapes(tree: Mapping[str, Any]) -> dict[str, list[int]]:
    leaves = flax.traverse_util.flatten_dict(tree, sep="/")
    return {name: list(leaf.shape) for name, leaf in leaves.items()}


def _describe(shape: list[int] | None) -> str:
    return "missing" if shape is None else f"{shape}"
