"""The content of an exported model in any file format: arrays and a description of them, verified when read.

Kernels are float16, which makes files small; vectors (biases, scales, moving averages), of which there are few, are
float32, and so are the factor of a learned prior and the statistics of codes. The description is JSON: format, version,
configuration, step, statistics of the training data, digest of the checkpoint, and digest of description and arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
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
from wae_jax.errors import CheckpointError
from wae_jax.generation.attributes import ATTRIBUTES, Directions
from wae_jax.generation.code_statistics import CodeStatistics, Components
from wae_jax.generation.model import Model
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.pianoroll import PHRASE_SHAPE
from wae_jax.programs import how_to_run
from wae_jax.training.checkpoint_meta import describe_leaves
from wae_jax.training.learned_prior import KernelDensity

FORMAT = "wae_jax model"
VERSION = 5
# Beside the collections of variables.
_LEARNED_PRIOR = "learned_prior/"
_CODES = "code_statistics/"
# Exceptions that reading a damaged file, or a description without what it should have, raises.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, NotImplementedError, RuntimeError, MemoryError),
    *(ValueError, KeyError, TypeError, AttributeError, IndexError),
)

Arrays = dict[str, Shaped[np.ndarray, "*shape"]]


def to_storage(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables in the types of the files: kernels as float16, vectors as float32.

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


def density_to_storage(density: KernelDensity) -> Arrays:
    """The arrays of a learned prior in the types of the files: centers as float16, the factor as float32.

    Raises:
      CheckpointError: if a center is not finite, or too large for its type.
    """
    # float16 has no number for the diagonal where codes hardly vary, and a factor with 0 there has no density.
    return {**to_storage({"centers": density.centers}), "factor": np.asarray(density.factor, np.float32)}


def to_exported(model: Model) -> tuple[dict[str, Any], Arrays]:
    """The description of a model, with its digest, and its arrays by name.

    Raises:
      CheckpointError: if a value is not finite, or too large for 16 bits.
      DatasetError: if the statistics take data that can no longer be found.
    """
    arrays = flax.traverse_util.flatten_dict(to_storage(model.variables), sep="/")
    if model.kernel_density is not None:
        stored = density_to_storage(model.kernel_density)
        arrays |= {_LEARNED_PRIOR + name: array for name, array in stored.items()}
    of_codes = model.statistics_of_codes()
    arrays |= {_CODES + name: array for name, array in _codes_to_storage(of_codes).items()}
    description = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.loads(json.dumps(model.config.to_dict())),
        "step": model.step,
        "source_digest": model.digest,
        "track_statistics": {name: list(values) for name, values in model.statistics()._asdict().items()},
        "code_statistics": {"num_phrases": of_codes.num_phrases, "attributes": list(ATTRIBUTES)},
    }
    return {**description, "digest": digest_of(description, arrays)}, arrays


def from_exported(path: str | os.PathLike[str], description: dict[str, Any], arrays: Arrays) -> Model:
    """The model of a description and arrays, which are verified; its digest is that of both.

    Args:
      path: the file or folder, for messages.
      description: as `to_exported` returns it; `check_version` has accepted it.
      arrays: likewise.

    Raises:
      CheckpointError: if they have changed since they were written, or if the arrays are not the variables of the
        configuration's model.
      ConfigError: if the configuration cannot be read.
      Exception: one of `DAMAGE`, if a field is missing or of another type.
    """
    digest = description.get("digest")
    described = {name: value for name, value in description.items() if name != "digest"}
    if digest != digest_of(described, arrays):
        raise CheckpointError(f"{path} is damaged: its digest does not match its content; fetch or export it again")
    config = read_config(description["config"])
    found = description["track_statistics"]
    short_note_shares = tuple(map(tuple, found["short_note_shares"]))
    statistics = TrackStatistics(tuple(found["densities"]), tuple(found["empty_bar_rates"]), short_note_shares)
    learned = {name: array for name, array in arrays.items() if name.startswith(_LEARNED_PRIOR)}
    density = _to_kernel_density(path, config, learned)
    of_codes = {name: array for name, array in arrays.items() if name.startswith(_CODES)}
    others = arrays.keys() - learned.keys() - of_codes.keys()
    return Model(
        config,
        _to_variables(path, config, {name: arrays[name] for name in others}),
        description["step"],
        digest,
        statistics,
        density,
        code_statistics=_to_code_statistics(path, config, description["code_statistics"], of_codes),
    )


def check_version(path: str | os.PathLike[str], description: Any) -> None:
    """Raises CheckpointError unless the description is of an exported model of this version."""
    if not isinstance(description, dict) or not str(description.get("format")).startswith("wae_jax"):
        raise CheckpointError(f"{path} is no exported model; expected one made by {how_to_run('export')}")
    if (description["format"], description.get("version")) != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path} is of version {description.get('version')!r} of the format of exported models, and this wae_jax "
            f"reads version {VERSION}; export the model again, or use the wae_jax that made it"
        )


def digest_of(description: Mapping[str, Any], arrays: Arrays) -> str:
    """The sha256, in hexadecimal, of a description without its digest, and of the arrays with their names."""
    digests = {name: leaf["sha256"] for name, leaf in describe_leaves(arrays).items()}
    content = {"meta": description, "arrays": digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_kernel_density(path: str | os.PathLike[str], config: Config, arrays: Arrays) -> KernelDensity | None:
    """The learned prior of the model; None without one."""
    if not arrays:
        return None
    shapes = {name.removeprefix(_LEARNED_PRIOR): each.shape for name, each in sorted(arrays.items())}
    num, z = (*shapes.get("centers", ()), 1)[0], config.model.z_dim
    wanted = {"centers": (num, z), "factor": (z, z)}
    if shapes != wanted:
        raise CheckpointError(f"{path} has a learned prior of shapes {shapes}; expected {wanted}")
    return KernelDensity(**{name: arrays[_LEARNED_PRIOR + name] for name in wanted}, count=np.int32(num)).unpadded()


def _codes_to_storage(statistics: CodeStatistics) -> Arrays:
    """The arrays of the statistics of codes by name, float32."""
    named = {"mean": statistics.mean}
    named |= {f"directions/{name}": array for name, array in statistics.directions._asdict().items()}
    named |= {f"components/{name}": array for name, array in statistics.components._asdict().items()}
    return {name: array.astype(np.float32) for name, array in named.items()}


def _to_code_statistics(
    path: str | os.PathLike[str], config: Config, described: Mapping[str, Any], arrays: Arrays
) -> CodeStatistics:
    """The statistics of codes, in float64."""
    if described["attributes"] != list(ATTRIBUTES):
        raise CheckpointError(
            f"{path} has statistics of the attributes {', '.join(described['attributes'])}; expected "
            f"{', '.join(ATTRIBUTES)}: export the model again"
        )
    z, num = config.model.z_dim, len(ATTRIBUTES)
    found = {name.removeprefix(_CODES): array.astype(np.float64) for name, array in arrays.items()}
    num_components = len(found.get("components/share", ()))
    wanted = {
        **{"components/correlation": (num_components, num), "components/deviation": (num_components,)},
        **{"components/direction": (num_components, z), "components/share": (num_components,)},
        **{"directions/deviation": (num,), "directions/explained": (num,), "directions/slope": (num, z), "mean": (z,)},
    }
    if (shapes := {name: array.shape for name, array in sorted(found.items())}) != wanted:
        raise CheckpointError(f"{path} has statistics of codes of shapes {shapes}; expected {wanted}")
    return CodeStatistics(
        described["num_phrases"],
        found["mean"],
        Directions(**{name: found[f"directions/{name}"] for name in Directions._fields}),
        Components(**{name: found[f"components/{name}"] for name in Components._fields}),
    )


def _to_variables(path: str | os.PathLike[str], config: Config, arrays: Arrays) -> dict[str, Any]:
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
