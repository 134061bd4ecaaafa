"""The data of a run: a folder made by `build_dataset`, there or at an address, or the built-in corpus."""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import shutil

import numpy as np

from wae_jax import dataset
from wae_jax.dataset import Dataset, DatasetError, from_songs, load_dataset
from wae_jax.dataset_folder import UNFINISHED, new_folder
from wae_jax.demo_corpus import make_demo_corpus
from wae_jax.remote import RemoteError, Store, alone, is_remote, kept_copy

_CORPUS_SEED = 0
_ROWS_AT_A_TIME = 1024


@functools.lru_cache(maxsize=1)
def open_data(path: str, *, num_songs: int, phrases_per_song: int) -> Dataset:
    """Opens a data set.

    Args:
      path: a folder made by `build_dataset`, or its address; empty means the built-in corpus, made on the spot.
      num_songs: of the built-in corpus.
      phrases_per_song: of the built-in corpus.

    Raises:
      DatasetError: if the folder is no data set, a damaged one, or out of reach.
    """
    if path:
        return load_dataset(fetch_data(path) if is_remote(path) else path)
    phrases, songs = make_demo_corpus(num_songs=num_songs, phrases_per_song=phrases_per_song, seed=_CORPUS_SEED)
    return from_songs(phrases, songs, name="the built-in corpus", valid_fraction=0.1, test_fraction=0.1)


def fetch_data(address: str) -> pathlib.Path:
    """The copy of a data set on this machine, made where there is none, or where the data set is another by now.

    Raises:
      DatasetError: if there is no data set at the address, what was copied is not what it should be, or it cannot be
        copied.
    """
    try:
        folder = kept_copy(address, "data")
        with alone(folder):
            _copy_data(Store(address), folder)
    except RemoteError as error:
        raise DatasetError(str(error)) from error
    return folder


def _copy_data(store: Store, folder: pathlib.Path) -> None:
    content = store.read(dataset.DESCRIPTION_FILE)
    if content is None:
        raise DatasetError(
            f"{store.address} holds no {dataset.DESCRIPTION_FILE}; expected a folder made by "
            "python -m wae_jax.build_dataset"
        )
    description = folder / dataset.DESCRIPTION_FILE
    # It is renamed with the rest, once that is known to be whole; and it has the sha256 of the phrases.
    if description.is_file() and description.read_bytes() == content:
        return
    for left in folder.parent.glob(UNFINISHED.format(folder.name)):
        shutil.rmtree(left)
    with new_folder(folder) as workshop:
        for name in (dataset.PHRASES_FILE, dataset.INDEX_FILE, dataset.SKIPPED_FILE):
            store.get(name, workshop.folder / name)
        (workshop.folder / dataset.DESCRIPTION_FILE).write_bytes(content)
        try:
            rows = load_dataset(workshop.folder).phrases
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(workshop.folder), store.address)) from error
        digest = hashlib.sha256()
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            digest.update(np.ascontiguousarray(rows[start : start + _ROWS_AT_A_TIME]).data)
        if digest.hexdigest() != (promised := json.loads(content)["phrases_sha256"]):
            raise DatasetError(
                f"{store.address}/{dataset.PHRASES_FILE} has rows of sha256 {digest.hexdigest()}, and "
                f"{dataset.DESCRIPTION_FILE} promises {promised}; try again, or upload the data set again"
            )
