"""All that decides the bytes of a data set, and in what two that should be alike differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import wae_jax
from wae_jax import splits
from wae_jax.gathering import Input, expand
from wae_jax.sources import Options

# A message names at most so many paths.
_PATHS_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a data set is made of.

    Attributes:
      inputs: the files, in the order in which they are read.
      options: how songs and float arrays are read.
      min_tracks: a phrase in which fewer tracks sound is left out.
      seed: of the split by song.
      valid_fraction: share of the songs, or of a block, to validate on.
      test_fraction: share to test on.
    """

    inputs: Sequence[Input]
    options: Options
    min_tracks: int
    seed: int
    valid_fraction: float
    test_fraction: float

    def expanded(self) -> Recipe:
        """The recipe with the files in the place of folders, those to train on first.

        Of equal phrases the first stays, and training has the first choice.

        Raises:
          DatasetError: if rows of a folder are asked for.
        """
        inputs = sorted(expand(self.inputs), key=lambda item: splits.SPLITS.index(item.split) if item.split else 0)
        return dataclasses.replace(self, inputs=inputs)

    def settings(self) -> dict[str, Any]:
        """All but the inputs: by the names of the flags, ready for JSON, with the version of this package."""
        names = {**dataclasses.asdict(self.options), **dataclasses.asdict(dataclasses.replace(self, inputs=()))}
        del names["inputs"], names["options"]
        flags = {f"--{name.replace('_', '-')}": value for name, value in names.items()}
        return {"wae_jax": wae_jax.__version__, **flags}


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe, ready for JSON; the inputs as [path, split, [first row, row after the last] or null, folder]."""
    inputs = [(path, split, rows and [rows.start, rows.stop], folder) for path, split, rows, folder in recipe.inputs]
    return {"settings": recipe.settings(), "inputs": inputs}


def from_json(text: Mapping[str, Any]) -> Recipe:
    """Undoes `to_json`.

    Raises:
      KeyError, TypeError or ValueError: if it is something else.
    """
    values = {flag.removeprefix("--").replace("-", "_"): value for flag, value in text["settings"].items()}
    options = Options(**{field.name: values[field.name] for field in dataclasses.fields(Options)})
    own = {field.name for field in dataclasses.fields(Recipe)} - {"inputs", "options"}
    inputs = [Input(path, split, rows and slice(*rows), folder) for path, split, rows, folder in text["inputs"]]
    return Recipe(inputs, options, **{name: values[name] for name in own})


def differing_settings(mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In words, in which settings a recipe differs from another; nothing where they are alike."""
    return ", ".join(
        f"{name} is {mine.get(name)} and not {other.get(name)}"
        for name in [*mine, *(name for name in other if name not in mine)]
        if mine.get(name) != other.get(name)
    )


def differing_inputs(mine: Sequence[Input], other: Sequence[Input]) -> str:
    """In words, in which inputs a recipe differs from another; nothing where they are alike."""
    if list(mine) == list(other):
        return ""
    numbers = f"its list has {len(mine)} files and not {len(other)}"
    here, there = {item.path for item in mine}, {item.path for item in other}
    told = [
        f"{what} {', '.join(paths[:_PATHS_NAMED])}" + f" and {len(paths) - _PATHS_NAMED} more" * (len(paths) > 3)
        for what, paths in (("with", sorted(here - there)), ("without", sorted(there - here)))
        if paths
    ]
    if told:
        return f"{numbers}, {', '.join(told)}"
    if len(mine) != len(other):
        return f"{numbers}, of which some stand twice"
    first = next(a.path for a, b in zip(mine, other, strict=True) if a != b)
    return f"its list has the same files in another order, or with other rows, split or folder, from {first} on"
