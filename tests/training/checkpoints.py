"""Helpers of the tests of checkpoints."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from wae_jax.training.checkpoint import Checkpointer

METRIC = "eval/reconstruction"


@flax.struct.dataclass
class ModelState:
    params: Any
    batch_stats: Any
    opt_state: Any


class Counters(NamedTuple):
    seen: Any
    key: Any


def make_state(seed: int = 0) -> dict[str, Any]:
    """All kinds of leaves and nodes that a training state may have."""
    rng = np.random.default_rng(seed)
    params = {"conv": {"kernel": jnp.asarray(rng.normal(size=(60, 40)), jnp.float32), "bias": jnp.zeros(40)}}
    tx = optax.chain(optax.clip(1.0), optax.adam(1e-3))
    half = {"scale": jnp.asarray(rng.normal(size=5), jnp.bfloat16)}
    return {
        "step": jnp.asarray(seed, jnp.int32),
        "autoencoder": ModelState(params, half, tx.init(params)),
        "discriminator": ModelState({}, {}, tx.init({})),
        "counters": Counters(np.arange(3, dtype=np.uint32), jax.random.key_data(jax.random.key(seed))),
        "nothing": (optax.EmptyState(), None, [], ()),
    }


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        other = np.asarray(other)
        assert isinstance(one, np.ndarray)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def save_steps(directory: pathlib.Path, *steps: int) -> None:
    with Checkpointer(directory, keep_latest=len(steps)) as checkpointer:
        for step in steps:
            checkpointer.save(step, make_state(step))


def data_files(checkpoint: pathlib.Path) -> list[pathlib.Path]:
    return sorted((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip_bit(path: pathlib.Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def damage(directory: pathlib.Path, step: int) -> None:
    """Flips one bit amid the numbers of the largest array, which orbax by itself does not notice."""
    path = data_files(directory / str(step))[-1]
    assert path.stat().st_size > 8000
    flip_bit(path, path.stat().st_size // 2)


def tree_of(directory: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}
