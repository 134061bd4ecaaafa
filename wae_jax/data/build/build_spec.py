"""All that decides the bytes of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from wae_jax.data import splits
from wae_jax.data.build.read_inputs import Input, expand
from wae_jax.data.build.sources import Options


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
