"""Exported models in one npz file: the arrays, compressed, and the description as the member `meta`."""

from __future__ import annotations

import json
import os
import pathlib
import zipfile

import numpy as np
from jaxtyping import Shaped

from wae_jax.errors import CheckpointError, UserError
from wae_jax.files import parse_json, whole_file
from wae_jax.generation.exported import DAMAGE, check_version, from_exported, to_exported
from wae_jax.generation.model import Model
from wae_jax.programs import how_to_run

_META = "meta"
_PREFIX = "variables/"


def write_model(path: str | os.PathLike[str], model: Model) -> str:
    """Writes a model and the statistics of its training data to a file; returns the digest of its content.

    The same model makes the same bytes. A file that is there is replaced once the new one is complete.

    Raises:
      CheckpointError: if a value is not finite, or too large for 16 bits; no file is written then.
      DatasetError: if the statistics take data that can no longer be found.
    """
    description, arrays = to_exported(model)
    text = json.dumps(description, sort_keys=True).encode()
    members = {_META: np.frombuffer(text, np.uint8), **{_PREFIX + name: array for name, array in arrays.items()}}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)
    return str(description["digest"])


def read_model(path: str | os.PathLike[str]) -> Model:
    """Reads a model from a file, and verifies it; its digest is that of the file's content.

    Raises:
      CheckpointError: if the file is missing, damaged, something else or of another version, or if its arrays are not
        the variables of its configuration's model.
      ConfigError: if the configuration cannot be read.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; expected one made by {how_to_run('export')}")
    try:
        # Not by numpy.load, which leaves a damaged file open.
        with zipfile.ZipFile(path) as members:
            description = parse_json(_read_array(members, f"{_META}.npy").tobytes())
            check_version(path, description)
            arrays = {
                name.removeprefix(_PREFIX).removesuffix(".npy"): _read_array(members, name)
                for name in members.namelist()
                if name.startswith(_PREFIX)
            }
        return from_exported(path, description, arrays)
    except UserError:
        raise
    except DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or not made by {how_to_run('export')} ({error})"
        ) from error


def _read_array(members: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, "*shape"]:
    with members.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to its end, where the checksum is compared
    return array
