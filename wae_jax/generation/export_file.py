"""Exported models: configuration and autoencoder in one small npz file, verified when it is read.

Kernels are float16, which makes the file small; vectors (biases, scales, moving averages), of which there are few, are
float32, and so is the factor of a learned prior. The member `meta` is JSON: format, version, configuration, step,
statistics of the training data, digest of the checkpoint, and digest of the file's own content.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import tokenize
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
from wae_jax.errors import CheckpointError, UserError
from wae_jax.files import parse_json, whole_file
from wae_jax.generation.model import Model
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.pianoroll import PHRASE_SHAPE
from wae_jax.training.checkpoint_meta import describe_leaves
from wae_jax.training.learned_prior import KernelDensity

FORMAT = "wae_jax model"
VERSION = 4
_META = "meta"
_PREFIX = "variables/"
# Beside the collections of variables.
_LEARNED_PRIOR = "learned_prior/"
# Exceptions that reading a damaged zip of damaged arrays raises.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, NotImplementedError, RuntimeError, MemoryError),
    *(ValueError, KeyError, TypeError, AttributeError, IndexError),
)

_Arrays = dict[str, Shaped[np.ndarray, "*shape"]]


def to_storage(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables in the types of the file: kernels as float16, vectors as float32.

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


def density_to_storage(density: KernelDensity) -> _Arrays:
    """The arrays of a learned prior in the types of the file: centers as float16, the factor as float32.

    Raises:
      CheckpointError: if a center is not finite, or too large for its type.
    """
    # float16 has no number for the diagonal where codes hardly vary, and a factor with 0 there has no density.
    return {**to_storage({"centers": density.centers}), "factor": np.asarray(density.factor, np.float32)}


def write_model(path: str | os.PathLike[str], model: Model) -> str:
    """Writes a model and the statistics of its training data to a file; returns the digest of its content.

    The same model makes the same bytes. A file that is there is replaced once the new one is complete.

    Raises:
      CheckpointError: if a value is not finite, or too large for 16 bits; no file is written then.
      DatasetError: if the statistics take data that can no longer be found.
    """
    arrays = flax.traverse_util.flatten_dict(to_storage(model.variables), sep="/")
    if model.kernel_density is not None:
        stored = density_to_storage(model.kernel_density)
        arrays |= {_LEARNED_PRIOR + name: array for name, array in stored.items()}
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.loads(json.dumps(model.config.to_dict())),
        "step": model.step,
        "source_digest": model.digest,
        "track_statistics": {name: list(values) for name, values in model.statistics()._asdict().items()},
    }
    digest = _digest(meta, arrays)
    text = json.dumps({**meta, "digest": digest}, sort_keys=True).encode()
    members = {_META: np.frombuffer(text, np.uint8), **{_PREFIX + name: array for name, array in arrays.items()}}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)
    return digest


def read_model(path: str | os.PathLike[str]) -> Model:
    """Reads a model from a file, and verifies it; its digest is that of the file's content.

    Raises:
      CheckpointError: if the file is missing, damaged, something else or of another version, or if its arrays are not
        the variables of its configuration's model.
      ConfigError: if the configuration cannot be read.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; expected one made by python -m wae_jax.export")
    try:
        # Not by numpy.load, which leaves a damaged file open.
        with zipfile.ZipFile(path) as members:
            meta = parse_json(_read_array(members, f"{_META}.npy").tobytes())
            _check_version(path, meta)
            arrays = {
                name.removeprefix(_PREFIX).removesuffix(".npy"): _read_array(members, name)
                for name in members.namelist()
                if name.startswith(_PREFIX)
            }
        digest = meta.pop("digest", None)
        if digest != _digest(meta, arrays):
            raise CheckpointError(f"{path} is damaged: its digest does not match its content; fetch or export it again")
        config = read_config(meta["config"])
        found = meta["track_statistics"]
        short_note_shares = tuple(map(tuple, found["short_note_shares"]))
        statistics = TrackStatistics(tuple(found["densities"]), tuple(found["empty_bar_rates"]), short_note_shares)
        learned = {name: arrays.pop(name) for name in sorted(arrays) if name.startswith(_LEARNED_PRIOR)}
        density = _to_kernel_density(path, config, learned)
        return Model(config, _to_variables(path, config, arrays), meta["step"], digest, statistics, density)
    except UserError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or not made by python -m wae_jax.export ({error})"
        ) from error


def _read_array(members: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, "*shape"]:
    with members.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to its end, where the checksum is compared
    return array


def _check_version(path: pathlib.Path, meta: Any) -> None:
    if not isinstance(meta, dict) or not str(meta.get("format")).startswith("wae_jax"):
        raise CheckpointError(f"{path} is no exported model; expected a file made by python -m wae_jax.export")
    if (meta["format"], meta.get("version")) != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path} is of version {meta.get('version')!r} of the format of exported models, and this wae_jax reads "
            f"version {VERSION}; export the model again, or use the wae_jax that made the file"
        )


def _digest(meta: Mapping[str, Any], arrays: _Arrays) -> str:
    digests = {name: leaf["sha256"] for name, leaf in describe_leaves(arrays).items()}
    content = {"meta": meta, "arrays": digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_kernel_density(path: pathlib.Path, config: Config, arrays: _Arrays) -> KernelDensity | None:
    """The learned prior of the file; None without one."""
    if not arrays:
        return None
    shapes = {name.removeprefix(_LEARNED_PRIOR): each.shape for name, each in arrays.items()}
    num, z = (*shapes.get("centers", ()), 1)[0], config.model.z_dim
    wanted = {"centers": (num, z), "factor": (z, z)}
    if shapes != wanted:
        raise CheckpointError(f"{path} has a learned prior of shapes {shapes}; expected {wanted}")
    return KernelDensity(**{name: arrays[_LEARNED_PRIOR + name] for name in wanted}, count=np.int32(num)).unpadded()


def _to_variables(path: pathlib.Path, config: Config, arrays: _Arrays) -> dict[str, Any]:
    """The arrays as variables of the configuration's autoencoder, in its types."""
    autoencoder = make_autoencoder(config.model, config.refiner, dtype=config.dtype)
    variables = jax.eval_shape(autoencoder.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    expected = flax.traverse_util.flatten_dict(variables, sep="/")
    shapes = ({name: each.shape for name, each in named.items()} for named in (arrays, expected))
    different = sorted({name for name, _ in set.symmetric_difference(*(set(each.items()) for each in shapes))})
    if different:
        raise CheckpointError(
            f"{path} does not hold the variables of its configuration's model; different are {', '.join(different[:8])}"
        )
    found = {name: arrays[name].astype(leaf.dtype) for name, leaf in expected.items()}
    return {"batch_stats": {}, **flax.traverse_util.unflatten_dict(found, sep="/")}
