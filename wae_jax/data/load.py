"""The data of a run: a folder made by `build_dataset`, or the built-in corpus."""

from __future__ import annotations

import functools

from wae_jax.config import DataSpec
from wae_jax.data.dataset import Dataset, from_songs, load_dataset
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.data.remote_data import local_dataset

_CORPUS_SEED = 0


@functools.lru_cache(maxsize=1)
def open_data(spec: DataSpec) -> Dataset:
    """Opens the data set that a configuration names.

    Raises:
      DatasetError: if `spec.path` is no data set or a damaged one.
      RemoteError: if it is a URL that cannot be read.
    """
    if spec.path:
        return load_dataset(local_dataset(spec.path))
    phrases, songs = make_demo_corpus(
        num_songs=spec.num_songs, phrases_per_song=spec.phrases_per_song, seed=_CORPUS_SEED
    )
    return from_songs(phrases, songs, name="the built-in corpus", valid_fraction=0.1, test_fraction=0.1)
