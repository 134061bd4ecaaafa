"""The annotations of arrays: that they are there, that they are checked, and that records hold what theirs say."""

import ast
import importlib
import inspect
import pkgutil
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype.door import is_bearable
from jaxtyping import AbstractArray, Float, TypeCheckError, jaxtyped

import wae_jax
from tests.checking import unchecked
from tests.helpers import make_batch, random_rolls
from wae_jax import pianoroll
from wae_jax.data import dataset, demo_corpus
from wae_jax.data.build import musegan_npz, rasterize, segmentation, song_files, sources
from wae_jax.metrics import music, reconstruction
from wae_jax.models import conv
from wae_jax.objective import adversarial, mmd, prior
from wae_jax.pianoroll import notes
from wae_jax.render import midi
from wae_jax.training import random_keys

MODULES = [importlib.import_module(module.name) for module in pkgutil.walk_packages(wae_jax.__path__, "wae_jax.")]


def is_bare(hint) -> bool:
    """Whether an annotation holds an array, anywhere within it, of which it says neither type nor axes."""
    if isinstance(hint, list):  # the arguments of a Callable
        return any(map(is_bare, hint))
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, type) and issubclass(kind, AbstractArray):
        return False
    if isinstance(kind, type) and issubclass(kind, np.ndarray | jax.Array):
        return True
    return any(map(is_bare, typing.get_args(hint)))


def public_functions(module):
    """Functions, whatever wraps them, and methods: by name, without wrappers."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).items() if inspect.isclass(value) else [(None, value)]
        for member, function in members:
            function = inspect.unwrap(function.fget if isinstance(function, property) else function)
            # A field may have another library's function for its default.
            is_own = getattr(function, "__module__", None) == module.__name__
            if inspect.isfunction(function) and is_own and not (member or "").startswith("_"):
                found[f"{name}.{member}" if member else name] = function
    return found


def hints(module, function):
    """The annotations of a function, as objects."""
    found = {}
    for name, text in function.__annotations__.items():
        try:
            found[name] = eval(text, vars(module)) if isinstance(text, str) else text
        except NameError:  # what is imported for mypy alone
            assert "Array" not in text, (module.__name__, function.__qualname__, text)
            assert "ndarray" not in text, (module.__name__, function.__qualname__, text)
    return found


def names_in(text) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_array_of_a_public_function_has_a_type_and_axes(module):
    bare = {
        (name, argument): hint
        for name, function in public_functions(module).items()
        for argument, hint in hints(module, function).items()
        if is_bare(hint)
    }
    assert not bare


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_annotations_are_made_of_is_defined_above_them(module):
    """The checker reads an annotation when its function is made, and passes by what it cannot read."""
    lines = {
        node.id: node.lineno
        for statement in ast.parse(inspect.getsource(module)).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    late = [
        (name, text)
        for name, function in public_functions(module).items()
        for text in function.__annotations__.values()
        if isinstance(text, str) and any(lines.get(id, 0) > function.__code__.co_firstlineno for id in names_in(text))
    ]
    assert not late


def test_what_is_bare_is_seen():
    scalar = Float[jax.Array, ""]
    for hint in (np.ndarray, jax.Array, np.ndarray[tuple[int], np.dtype[np.int64]], list[jax.Array] | None):
        assert is_bare(hint)
        assert is_bare(typing.Callable[[scalar, hint], None])
        assert is_bare(dict[str, tuple[hint, ...]])
    for hint in (scalar, pianoroll.BinaryRolls, mmd.Kernel, dict[str, scalar], int, typing.Any):
        assert not is_bare(hint)
    found = {module.__name__: public_functions(module) for module in MODULES}
    assert found["wae_jax.objective.mmd"].keys() >= {
        "mmd_squared",
        "mmd_squared_tiled",
        "u_statistic",
    }  # jitted and not
    assert found["wae_jax.models.conv"].keys() >= {"conv", "conv_transpose"}  # with gradients of their own
    assert "Dataset.split" in found["wae_jax.data.dataset"]


WRONG = {
    "axis of another length": lambda: pianoroll.pack(np.zeros((2, 192, 84, 4), bool)),
    "axis missing": lambda: music.cells(np.zeros((192, 84, 5), bool)),
    "another type": lambda: pianoroll.unpack(np.zeros((2, 10_080), np.int32)),
    "two lengths of one axis": lambda: adversarial.discriminator_loss(jnp.zeros(3), jnp.zeros(4)),
    "keys that are none": lambda: prior.sample_prior(jnp.zeros(3), latent_dim=2, prior_variance=1.0),
    "inside of jit": lambda: mmd.mmd_squared(jnp.zeros((5, 3), int), jnp.zeros((5, 3)), prior_variance=1.0),
    "under a gradient of its own": lambda: conv.conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((2, 2, 5, 1)), (1, 1)),
    "method": lambda: dataset.Dataset(np.zeros((3, 5), np.uint8), {"train": (0, 3)}, "", "", list).split("train"),
    "no array": lambda: pianoroll.pack([[1]]),
}


@pytest.mark.parametrize("how", WRONG)
def test_the_checker_is_on(how):
    with pytest.raises(TypeCheckError, match="Type-check error whilst checking the"):
        WRONG[how]()


def test_what_is_returned_is_checked(monkeypatch):
    rolls = random_rolls(2)
    assert music.cells(rolls).shape == (2,)
    monkeypatch.setattr(music, "as_phrases", lambda rolls: np.concatenate([rolls, rolls]))
    with pytest.raises(TypeCheckError, match=r"checking the return value of wae_jax\.metrics\.music\.cells"):
        music.cells(rolls)
    with unchecked():
        assert music.cells(rolls).shape == (4,)


def read_song(folder):
    midi.write_midi(folder / "a.mid", random_rolls(1)[0])
    return song_files.read_midi((folder / "a.mid").read_bytes())


def read_cells(folder):
    bars = random_rolls(2).reshape(2, 4, 48, 84, 5)
    np.savez(folder / "a.npz", nonzero=np.array(np.nonzero(bars)), shape=np.array(bars.shape))
    return musegan_npz.read_cells(folder / "a.npz", 2, 0, 2)


RECORDS = {
    "notes": lambda folder: notes.find_notes(random_rolls(2)),
    "no notes": lambda folder: notes.find_notes(np.zeros((0, 5, 84, 5), np.uint8)),
    "song": read_song,
    "phrases of a song": lambda folder: segmentation.cut(read_song(folder), sources.Options())[0],
    "runs": lambda folder: rasterize.merge_notes(np.array([7, 7]), np.array([0, 3]), np.array([4, 5])),
    "cells": read_cells,
    "data set": lambda folder: dataset.from_songs(
        *demo_corpus.make_demo_corpus(num_songs=4, phrases_per_song=1, seed=0),
        name="",
        valid_fraction=0.2,
        test_fraction=0.2,
    ),
    "counts": lambda folder: reconstruction.count_cells(
        jnp.ones((3, 4, 5, 2), bool), jnp.ones((3, 4, 5, 2)), threshold=0.5
    ),
    "batch": lambda folder: make_batch(3),
    "keys": lambda folder: random_keys.example_keys(0, jnp.int32(4), jnp.arange(3)),
}


def wrong_fields(record) -> list[str]:
    """The fields that do not hold what their annotations say, an axis having one length in all of them."""
    with jaxtyped("context"):
        found = typing.get_type_hints(type(record), include_extras=True)
        return [name for name, hint in found.items() if not is_bearable(getattr(record, name), hint)]


@pytest.mark.parametrize("name", RECORDS)
def test_records_hold_what_they_say(name, tmp_path):
    """The checker looks at functions; at the fields of records it does not, where annotations are strings."""
    record = RECORDS[name](tmp_path)
    assert not any(map(is_bare, typing.get_type_hints(type(record), include_extras=True).values()))
    assert wrong_fields(record) == []


def test_records_that_do_not_are_found():
    record = notes.find_notes(random_rolls(1))
    assert wrong_fields(record._replace(length=record.length[1:])) == ["length"]
    assert wrong_fields(record._replace(onset=record.onset.astype(np.int32))) == ["onset"]
