"""Opens trained models: a workdir, an exported file or folder, or the model that ships with the package."""

from __future__ import annotations

import importlib.resources
import os
import pathlib

from wae_jax.config import read_config
from wae_jax.errors import CheckpointError
from wae_jax.generation.export_file import read_model
from wae_jax.generation.export_folder import is_export_folder, read_model_folder
from wae_jax.generation.model import Model
from wae_jax.remote import CHECKPOINTS_FOLDER, is_url, local_copy
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.checkpoint_meta import checkpoint_digest
from wae_jax.training.state import train_state_shapes
from wae_jax.training.workdir import load_config

SHIPPED = "wae_free.npz"
SHIPPED_NAME = "shipped"  # in place of a path
_SHIPPED_FILES = importlib.resources.files("wae_jax").joinpath("shipped")
_ABOUT_SHIPPED = "wae_free_sources.md"  # its last section is that of the training data
_TRAINING_DATA = "## Training data\n"


def load(source: str | os.PathLike[str] | None = None, checkpoint: str = "best") -> Model:
    """Opens a trained model.

    Args:
      source: a workdir of `wae_jax.main`, or a file or folder of `wae_jax.export`; each also at a URL, among them
        hf://user/name and hf://user/name@revision of the Hugging Face Hub. None or "shipped" for the model that ships
        with the package, a WAE-MMD trained on free music (docs/free_music.md lists sources and licences); "./shipped"
        is a folder.
      checkpoint: "best", "latest", or the number of a step. An exported model is one checkpoint, which is both.

    Raises:
      WorkdirError: if there is no configuration, or the workdir is of another version of this package.
      RemoteError: if the URL cannot be read, or a package for that is missing.
      CheckpointError: if there is no such checkpoint, or it is damaged.
      ConfigError: if the configuration is of another version of this package.

    Examples:
      >>> import wae_jax
      >>> model = wae_jax.load()
      >>> model.config.objective.penalty, model.prior
      ('mmd', 'kernel_density')
    """
    if source in (None, SHIPPED_NAME):
        with importlib.resources.as_file(_SHIPPED_FILES.joinpath(SHIPPED)) as path:
            return _checked(read_model(path), checkpoint, SHIPPED)
    path, name = local_copy(source), os.fspath(source)
    if path.is_file():
        return _checked(read_model(path), checkpoint, name)
    if is_export_folder(path):
        return _checked(read_model_folder(path, name=name), checkpoint, name)
    return _load_workdir(path, checkpoint, name=name)


def training_data_of_shipped() -> str:
    """The music that the shipped model was trained on, with authors and licences, in Markdown."""
    text = _SHIPPED_FILES.joinpath(_ABOUT_SHIPPED).read_text(encoding="utf-8")
    return text[text.index(_TRAINING_DATA) + len(_TRAINING_DATA) :].strip()


def load_with_path(source: str, checkpoint: str) -> tuple[Model, pathlib.Path]:
    """A model as `load` opens it, and the local path of its files, which are copied only once from a URL."""
    path = local_copy(source)
    # By its own name otherwise: "shipped" is no path.
    return load(path if is_url(source) else source, checkpoint), path


def _checked(model: Model, checkpoint: str, name: str) -> Model:
    """An exported model, if it has the checkpoint."""
    if checkpoint not in ("best", "latest", str(model.step)):
        raise CheckpointError(
            f"{name} has no checkpoint {checkpoint!r}, only that of step {model.step}; expected best, latest or "
            f"{model.step}"
        )
    return model


def _load_workdir(workdir: pathlib.Path, checkpoint: str, name: str) -> Model:
    config = read_config(load_config(workdir, name=name))
    if checkpoint not in ("best", "latest") and not checkpoint.isdecimal():
        raise CheckpointError(f"no checkpoint is called {checkpoint!r}; expected best, latest or the number of a step")
    target = train_state_shapes(config)
    checkpoints = Checkpointer(
        workdir / CHECKPOINTS_FOLDER,
        best_metric=config.best_metric,
        best_mode=config.best_mode,
        read_only=True,
    )
    with checkpoints:
        if checkpoint.isdecimal():
            state, meta = checkpoints.restore(int(checkpoint), target)
        elif checkpoint == "best" and (best := checkpoints.best_step()) is not None:
            state, meta = checkpoints.restore(best, target)
        else:
            restored = checkpoints.restore_latest(target)
            if restored is None:
                raise CheckpointError(f"{name} has no checkpoint yet; wait for the first evaluation of the run")
            state, meta = restored
    digest = checkpoint_digest(meta["leaves"])
    return Model(
        config,
        state.evaluation_variables(),
        meta["step"],
        digest,
        kernel_density=state.kernel_density(),
        discriminator=state.discriminator.params or None,
    )
