"""A trained run in one small file: its configuration, its autoencoder's variables, and a digest of both.

The file is an npz. Kernels are float16, which is what makes it small; vectors (biases, scales, moving averages), of
which there are few, are float32. The member `meta` is JSON: format, version, configuration, step, the digest of the
checkpoint that the file was made from, and the digest of the file's own content, which every reading compares.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from wae_jax.config import Config, read_config
from wae_jax.data.statistics import TrackStatistics
from wae_jax.errors import CheckpointError
from wae_jax.files import whole_file
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.pianoroll import PHRASE_SHAPE
from wae_jax.training.checkpoint_meta import digests

FORMAT = "wae_jax trained run"
VERSION = 2
_META = "meta"
_PREFIX = "variables/"
# What reading a damaged zip of damaged arrays ends in.
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError)

_Arrays = dict[str, Shaped[np.ndarray, "*shape"]]


@dataclasses.dataclass(frozen=True)
class Portable:
    """What a file holds.

    Attributes:
      config: of the run.
      variables: of its autoencoder, of the types that its configuration computes in.
      step: of the checkpoint.
      source_digest: of the checkpoint that the file was made from.
      digest: of the file's content.
      track_statistics: of the training data; None in files of before there was use for them.
    """

    config: Config
    variables: dict[str, Any]
    step: int
    source_digest: str
    digest: str
    track_statistics: TrackStatistics | None = None


def stored(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as a file holds them: kernels as float16, vectors as float32.

    Raises:
      CheckpointError: if a value is not finite, or too large for its type.
    """
    small = {}
    for name, leaf in flax.traverse_util.flatten_dict(jax.device_get(dict(variables)), sep="/").items():
        dtype = np.float16 if np.ndim(leaf) > 1 else np.float32
        with np.errstate(over="ignore"):
            small[name] = np.asarray(leaf).astype(dtype)
        if not np.isfinite(small[name]).all():
            largest = np.max(np.abs(np.asarray(leaf, np.float64)))
            raise CheckpointError(
                f"{name} cannot be stored as {np.dtype(dtype).name}: its largest value is {largest:.3g}; "
                f"expected finite values of at most {np.finfo(dtype).max:.6g}"
            )
    return flax.traverse_util.unflatten_dict(small, sep="/")


def save_portable(
    path: str | os.PathLike[str],
    config: Config,
    variables: Mapping[str, Any],
    *,
    step: int,
    source_digest: str,
    track_statistics: TrackStatistics,
) -> str:
    """Writes the file; the same run always makes the same bytes.

    Args:
      path: the file; one that is there is replaced once the new one is complete.
      config: of the run.
      variables: of its autoencoder: `Model.variables`.
      step: of the checkpoint they are from.
      source_digest: of that checkpoint.
      track_statistics: of the training data.

    Returns:
      The digest of the file's content.

    Raises:
      CheckpointError: if a value is not finite, or too large for 16 bits; no file is written then.
    """
    arrays = flax.traverse_util.flatten_dict(stored(variables), sep="/")
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.loads(json.dumps(config.to_dict())),
        "step": step,
        "source_digest": source_digest,
        "track_statistics": {name: list(values) for name, values in track_statistics._asdict().items()},
    }
    digest = _digest(meta, arrays)
    text = json.dumps({**meta, "digest": digest}, sort_keys=True).encode()
    members = {_META: np.frombuffer(text, np.uint8), **{_PREFIX + name: array for name, array in arrays.items()}}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)
    return digest


def load_portable(path: str | os.PathLike[str]) -> Portable:
    """Reads a file back, and verifies it.

    Raises:
      CheckpointError: if there is no such file, if it is something else, of another version or damaged, or if its
        arrays are not those of its configuration's model.
      ConfigError: if the configuration is of another version of this package.
    """
    path = pathlib.Path(path)
    meta, arrays = _read(path)
    digest = meta.pop("digest", None)
    if digest != _digest(meta, arrays):
        raise CheckpointError(f"{path} is damaged: its digest does not match its content; fetch or export it anew")
    config = read_config(meta["config"])
    statistics = meta.get("track_statistics")
    return Portable(
        config,
        _fit(path, config, arrays),
        meta["step"],
        meta["source_digest"],
        digest,
        None if statistics is None else _as_statistics(statistics),
    )


def _as_statistics(found: Mapping[str, Any]) -> TrackStatistics:
    """Statistics from JSON, which knows no tuples."""
    shares = tuple(tuple(each) for each in found["short_note_shares"])
    return TrackStatistics(tuple(found["densities"]), tuple(found["empty_bar_rates"]), shares)


def _read(path: pathlib.Path) -> tuple[dict[str, Any], _Arrays]:
    """The meta and the arrays of a file of the right format and version."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; expected one made by python -m wae_jax.export")
    try:
        # Not by numpy.load, which leaves a damaged file open.
        with zipfile.ZipFile(path) as members:
            meta = json.loads(_read_array(members, f"{_META}.npy").tobytes())
            _check_version(path, meta)
            arrays = {
                name.removeprefix(_PREFIX).removesuffix(".npy"): _read_array(members, name)
                for name in members.namelist()
                if name.startswith(_PREFIX)
            }
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read as a trained run: it is damaged, or not made by python -m wae_jax.export ({error})"
        ) from error
    return meta, arrays


def _read_array(members: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, "*shape"]:
    with members.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to its end, where the checksum is compared
    return array


def _check_version(path: pathlib.Path, meta: Any) -> None:
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not hold a trained run; expected a file made by python -m wae_jax.export")
    if meta.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of version {meta.get('version')!r} of the format; this wae_jax reads version {VERSION}: "
            "export the run again, or use the wae_jax that made the file"
        )


def _digest(meta: Mapping[str, Any], arrays: _Arrays) -> str:
    content = {"meta": meta, "arrays": digests(arrays)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _fit(path: pathlib.Path, config: Config, arrays: _Arrays) -> dict[str, Any]:
    """The arrays as the variables of the configuration's model."""
    model = make_autoencoder(config.model, config.refiner, dtype=config.dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    expected = flax.traverse_util.flatten_dict(shapes, sep="/")
    held = {name: array.shape for name, array in arrays.items()}
    if held != {name: leaf.shape for name, leaf in expected.items()}:
        different = sorted(
            name for name in {**held, **expected} if name not in expected or held.get(name) != expected[name].shape
        )
        raise CheckpointError(
            f"{path} does not hold the variables of its configuration's model; what differs: {', '.join(different[:8])}"
        )
    variables = {name: arrays[name].astype(leaf.dtype) for name, leaf in expected.items()}
    return {"batch_stats": {}, **flax.traverse_util.unflatten_dict(variables, sep="/")}
