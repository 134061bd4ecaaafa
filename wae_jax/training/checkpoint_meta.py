"""The JSON item of a checkpoint: shapes, dtypes and digests of all arrays, and what a restore checks with them."""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wae_jax.errors import CheckpointError, CheckpointMismatchError

PyTree = Any

_RESERVED_FIELDS = ("leaves", "metrics", "sha256", "step")
_MAX_DIFFERENCES = 8  # listed in an error message


def digests(state: PyTree) -> dict[str, str]:
    """The sha256 of dtype, shape and bytes of every leaf, in hex.

    Args:
      state: a PyTree of arrays.

    Returns:
      A digest by path, such as `autoencoder/params/encoder/kernel`.
    """
    return {path: _digest(leaf) for path, leaf in named_leaves(jax.device_get(state)).items()}


def checkpoint_digest(meta: Mapping[str, Any]) -> str:
    """The sha256 over the paths and digests of all leaves, in hex; it identifies the state of a checkpoint.

    Args:
      meta: as returned by `Checkpointer.restore`.
    """
    lines = [f"{path} {leaf['sha256']}\n" for path, leaf in sorted(meta["leaves"].items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def named_leaves(state: PyTree) -> dict[str, Any]:
    """The leaves of a state by path, in the state's order."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same path; expected keys without a slash")
    return named


def shape_and_dtype(leaf: Any) -> tuple[list[int], str]:
    """Shape and dtype of an array, a `jax.ShapeDtypeStruct` or a Python number, as JSON values."""
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return list(array.shape), np.dtype(array.dtype).name


def _digest(leaf: np.ndarray) -> str:
    shape, dtype = shape_and_dtype(leaf)
    return hashlib.sha256(f"{dtype}{shape}".encode() + np.asarray(leaf).tobytes()).hexdigest()


def _seal(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def make_meta(step: int, host: PyTree, metrics: Mapping[str, float], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the item `meta`, with a sha256 of its own."""
    if reserved := sorted(set(fields) & set(_RESERVED_FIELDS)):
        raise ValueError(f"meta of step {step} has the fields {reserved}, which are reserved")
    leaves = {}
    for path, leaf in named_leaves(host).items():
        shape, dtype = shape_and_dtype(leaf)
        leaves[path] = {"shape": shape, "dtype": dtype, "sha256": _digest(leaf)}
    # JSON has no NaN and no infinity.
    numbers = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
    try:
        # Sealed as it will be read back: with lists for tuples, strings for keys.
        plain = json.loads(json.dumps({**fields, "step": step, "metrics": numbers, "leaves": leaves}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of step {step} cannot be written as JSON: {error}") from error
    return {**plain, "sha256": _seal(plain)}


def read_meta(path: pathlib.Path) -> dict[str, Any]:
    """Reads the item `meta` of the checkpoint at `path`; raises CheckpointError if it is damaged."""
    try:
        meta = json.loads((path / "meta" / "metadata").read_text(encoding="utf-8"))
        seal = meta.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {path}: its item meta cannot be read: {one_line(error)}") from error
    if seal != _seal(meta):
        raise CheckpointError(f"checkpoint {path}: its item meta is damaged: the sha256 does not match the content")
    return meta


def check_leaves(path: pathlib.Path, leaves: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Raises CheckpointMismatchError, with the differences, unless a checkpoint's leaves are those expected."""
    differences = [f"{name} is missing" for name in target if name not in leaves]
    differences += [f"{name} is not expected" for name in leaves if name not in target]
    for name in target:
        if name in leaves:
            held, wanted = (leaves[name]["shape"], leaves[name]["dtype"]), shape_and_dtype(target[name])
            if held != wanted:
                differences.append(f"{name} is {held[1]}{held[0]} where {wanted[1]}{wanted[0]} is expected")
    if differences:
        num_more = len(differences) - _MAX_DIFFERENCES
        more = f"; and {num_more} more" if num_more > 0 else ""
        raise CheckpointMismatchError(
            f"checkpoint {path} holds another state than expected (another model or optimizer?): "
            f"{'; '.join(differences[:_MAX_DIFFERENCES])}{more}"
        )


def one_line(error: BaseException) -> str:
    """One line about an error; tensorstore's messages are cut before their list of settings."""
    text = " ".join(str(error).split()).partition(" [tensorstore_spec=")[0]
    return f"{type(error).__name__}: {text if len(text) <= 400 else f'{text[:150]} ... {text[-250:]}'}"
