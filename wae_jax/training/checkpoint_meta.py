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

from wae_jax.errors import CheckpointError
from wae_jax.files import parse_json

PyTree = Any

_MAX_DIFFERENCES = 8  # listed in an error message


def describe_leaves(state: PyTree) -> dict[str, dict[str, Any]]:
    """The `shape`, `dtype` and `sha256` (of both and of the bytes) of every array of a state, by path.

    Args:
      state: a PyTree of arrays on devices or on the host.

    Returns:
      JSON by path, such as `autoencoder/params/encoder/kernel`.
    """
    return {
        path: {
            "shape": list(leaf.shape),
            "dtype": leaf.dtype.name,
            "sha256": hashlib.sha256(_type_name(leaf).encode() + leaf.tobytes()).hexdigest(),
        }
        for path, leaf in _named_leaves(jax.tree.map(np.asarray, jax.device_get(state))).items()
    }


def checkpoint_digest(leaves: Mapping[str, Mapping[str, Any]]) -> str:
    """The sha256 over the paths and digests of all leaves, in hex; it identifies the state of a checkpoint.

    Args:
      leaves: as returned by `describe_leaves`, and in the meta that `Checkpointer.restore` returns.
    """
    lines = [f"{path} {leaf['sha256']}\n" for path, leaf in sorted(leaves.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def make_meta(step: int, state: PyTree, metrics: Mapping[str, float], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the item `meta`, with a sha256 of its own; ValueError if `fields` are not JSON."""
    # JSON has no NaN and no infinity.
    numbers = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
    meta = {**fields, "step": step, "metrics": numbers, "leaves": describe_leaves(state)}
    try:
        # Hashed as it will be read back: with lists for tuples, strings for keys.
        plain = json.loads(json.dumps(meta, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of step {step} cannot be written as JSON: {error}") from error
    return {**plain, "sha256": _meta_sha256(plain)}


def read_meta(path: pathlib.Path) -> dict[str, Any]:
    """Reads the item `meta` of the checkpoint at `path`; raises CheckpointError if it is damaged."""
    try:
        meta = parse_json((path / "meta" / "metadata").read_bytes())
        expected = meta.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {path}: its item meta cannot be read: {one_line(error)}") from error
    if expected != _meta_sha256(meta):
        raise CheckpointError(f"checkpoint {path}: its item meta is damaged: the sha256 does not match the content")
    return meta


def check_leaves(path: pathlib.Path, leaves: Mapping[str, Any], target_state: PyTree) -> None:
    """Raises CheckpointError, with the differences, unless a checkpoint's leaves are those of the target."""
    held = {name: f"{leaf['dtype']}{leaf['shape']}" for name, leaf in leaves.items()}
    wanted = {name: _type_name(leaf) for name, leaf in _named_leaves(target_state).items()}
    differences = [
        f"{name} is {held.get(name, 'missing')} where {wanted.get(name, 'nothing')} is expected"
        for name in {**wanted, **held}
        if held.get(name) != wanted.get(name)
    ]
    if differences:
        num_more = len(differences) - _MAX_DIFFERENCES
        more = f"; and {num_more} more" if num_more > 0 else ""
        raise CheckpointError(
            f"checkpoint {path} holds another state than expected (another model or optimizer?): "
            f"{'; '.join(differences[:_MAX_DIFFERENCES])}{more}"
        )


def one_line(error: BaseException) -> str:
    """One line about an error; tensorstore's messages are cut before their list of settings."""
    text = " ".join(str(error).split()).partition(" [tensorstore_spec=")[0]
    return f"{type(error).__name__}: {text if len(text) <= 400 else f'{text[:150]} ... {text[-250:]}'}"


def _named_leaves(state: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same path; expected keys without a slash")
    return named


def _type_name(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _meta_sha256(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
