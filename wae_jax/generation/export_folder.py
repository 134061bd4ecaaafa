"""Exported models in a folder, as model hubs have them: the arrays as safetensors, the description as config.json.

safetensors is a format of arrays alone: nothing in it can be run.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import safetensors.numpy
from safetensors import SafetensorError

from wae_jax.errors import CheckpointError, UserError
from wae_jax.files import parse_json, whole_file
from wae_jax.generation.exported import DAMAGE, check_version, from_exported, to_exported
from wae_jax.generation.model import Model
from wae_jax.hub import DESCRIPTION_FILE, WEIGHTS_FILE
from wae_jax.programs import how_to_run


def is_export_folder(folder: pathlib.Path) -> bool:
    """Whether a folder is an exported model, or a damaged one, and not the workdir of a run."""
    if (folder / WEIGHTS_FILE).exists():
        return True
    try:
        description = parse_json((folder / DESCRIPTION_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    # The configuration of a run has no such field.
    return isinstance(description, dict) and "format" in description


def write_model_folder(folder: str | os.PathLike[str], model: Model) -> dict[str, Any]:
    """Writes a model and the statistics of its training data to a folder; returns its description.

    The same model makes the same bytes. The folder is made if it is missing; other files in it stay.

    Raises:
      CheckpointError: if a value is not finite, or too large for 16 bits; nothing is written then.
      DatasetError: if the statistics take data that can no longer be found.
    """
    description, arrays = to_exported(model)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # config.json last: with it the model is complete. Weights of another model do not have its digest.
    with whole_file(folder / WEIGHTS_FILE) as part:
        part.write_bytes(safetensors.numpy.save(arrays))
    with whole_file(folder / DESCRIPTION_FILE) as part:
        part.write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return description


def read_model_folder(folder: str | os.PathLike[str], *, name: str = "") -> Model:
    """Reads a model from a folder, and verifies it; its digest is that of the content of both files.

    Args:
      folder: the folder, or a local copy of it.
      name: the folder for messages, if it is not `folder`.

    Raises:
      CheckpointError: if a file is missing, damaged, something else or of another version, or if the arrays are not
        the variables of the configuration's model.
      ConfigError: if the configuration cannot be read.
    """
    name, folder = name or os.fspath(folder), pathlib.Path(folder)
    for file in (DESCRIPTION_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise CheckpointError(f"there is no {file} in {name}; expected a folder made by {how_to_run('export')}")
    try:
        description = parse_json((folder / DESCRIPTION_FILE).read_bytes())
        check_version(name, description)
        arrays = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
        return from_exported(name, description, arrays)
    except UserError:
        raise
    except (*DAMAGE, SafetensorError) as error:
        raise CheckpointError(
            f"{name} cannot be read: it is damaged, or not made by {how_to_run('export')} ({error})"
        ) from error
