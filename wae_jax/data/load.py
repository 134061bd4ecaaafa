"""The data of a run: a folder made by `build_dataset`, or the built-in corpus."""

from __future__ import annotations

import functools

from wae_jax.data.dataset import Dataset, from_songs, load_dataset
from wae_jax.data.demo_corpus import make_demo_corpus

_CORPUS_SEED = 0


@functools.lru_cache(maxsize=1)
def open_data(path: str, *, num_songs: int, phrases_per_song: int) -> Dataset:
    """Opens a data set.

    Args:
      path: a folder made by `build_dataset`; empty means the built-in corpus, made on the spot.
      num_songs: of the built-in corpus.
      phrases_per_song: of the built-in corpus.

    Raises:
      DatasetError: if the folder is no data set or a damaged one.
    """
    if path:
        return load_dataset(path)
    phrases, songs = make_demo_corpus(num_songs=num_songs, phrases_per_song=phrases_per_song, seed=_CORPUS_SEED)
    return from_songs(phrases, songs, name="the built-in corpus", valid_fraction=0.1, test_fraction=0.1)
