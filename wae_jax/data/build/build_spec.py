"""Everything that decides the bytes of a dataset: its inputs and how they are read, filtered and split."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wae_jax.data import splits
from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options
from wae_jax.errors import DatasetError


class Input(NamedTuple):
    """A file to read, or a folder without any.

    Attributes:
      path: the file.
      split: the split of its phrases; None if a rule decides.
      rows: the phrases to read; None for all.
      folder: the folder of the command line in which the file was found; None if the file itself was named.
    """

    path: str
    split: str | None = None
    rows: slice | None = None
    folder: str | None = None

    @property
    def song(self) -> str:
        """The name of the file if it is a song; the same wherever its folder lies."""
        path = pathlib.Path(self.path)
        if self.folder is None:
            return path.name
        return f"{pathlib.Path(self.folder).resolve().name}/{path.relative_to(self.folder).as_posix()}"


@dataclasses.dataclass(frozen=True)
class BuildSpec:
    """The contents of a dataset.

    Attributes:
      inputs: files and folders in the order of reading; either all of them name a split or none does.
      options: how songs and float arrays are read.
      min_tracks: phrases with fewer active tracks are left out.
      seed: seed of the split by song.
      valid_fraction: share of the songs, or of the phrases of a block, for validation.
      test_fraction: share for testing.
    """

    inputs: Sequence[Input]
    options: Options
    min_tracks: int
    seed: int
    valid_fraction: float
    test_fraction: float


def expand_inputs(inputs: Iterable[Input]) -> list[Input]:
    """Replaces each folder by its files, and sorts by split, training first.

    The first of equal phrases stays in the dataset, so training has the first choice.

    Raises:
      DatasetError: if rows of a folder are selected.
    """
    expanded: list[Input] = []
    for item in inputs:
        if not pathlib.Path(item.path).is_dir():
            expanded.append(item)
            continue
        if item.rows is not None:
            raise DatasetError(f"--rows follows {item.path}, which is a folder; expected a file")
        files = formats.find_files(pathlib.Path(item.path))
        expanded += [item._replace(path=str(file), folder=item.path) for file in files] or [item]
    return sorted(expanded, key=lambda item: splits.SPLITS.index(item.split) if item.split else 0)
