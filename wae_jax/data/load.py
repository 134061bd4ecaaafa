"""The data of a run: a folder made by `build_dataset`, at a path or a URL, or the built-in corpus."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import pathlib
import re
import tokenize

import numpy as np

from wae_jax.config import DataSpec
from wae_jax.data.dataset import DESCRIPTION_FILE, INDEX_FILE, PHRASES_FILE, Dataset, from_songs, load_dataset
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.errors import DatasetError
from wae_jax.files import parse_json, whole_file
from wae_jax.remote import RemoteFolder, is_url

_CORPUS_SEED = 0


@functools.lru_cache(maxsize=1)
def open_data(spec: DataSpec) -> Dataset:
    """Opens the dataset that a configuration names.

    Raises:
      DatasetError: if `spec.path` is no dataset or a damaged one.
      RemoteError: if it is a URL that cannot be read.
    """
    if spec.path:
        return load_dataset(local_dataset(spec.path))
    phrases, songs = make_demo_corpus(
        num_songs=spec.num_songs, phrases_per_song=spec.phrases_per_song, seed=_CORPUS_SEED, tonality=spec.tonality
    )
    name = "the built-in corpus"
    return from_songs(phrases, songs, name=name, tonality=spec.tonality, valid_fraction=0.1, test_fraction=0.1)


def local_dataset(path: str) -> pathlib.Path:
    """The folder of a dataset; one at a URL is copied to `$XDG_CACHE_HOME/wae_jax` or `~/.cache/wae_jax`.

    The copy is made once, and again when dataset.json at the URL has changed.

    Raises:
      RemoteError: if the URL cannot be reached, or a file of the dataset is missing there.
      DatasetError: if the phrases are not those that dataset.json promises.
    """
    if not is_url(path):
        return pathlib.Path(path)
    remote = RemoteFolder(path)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = re.sub(r"[^\w.-]+", "_", remote.url)[-60:] + "-" + hashlib.sha256(remote.url.encode()).hexdigest()[:12]
    folder = pathlib.Path(cache) / "wae_jax" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this host may be copying the same
        remote.download([DESCRIPTION_FILE], folder / "new")
        description = (folder / "new" / DESCRIPTION_FILE).read_bytes()
        copy = folder / DESCRIPTION_FILE
        if not copy.exists() or copy.read_bytes() != description:
            copy.unlink(missing_ok=True)
            remote.download([PHRASES_FILE, INDEX_FILE], folder)
            _check_phrases(remote.url, folder / PHRASES_FILE, description)
            # Last: with it the copy is complete.
            with whole_file(copy, durable=True) as part:
                part.write_bytes(description)
    return folder


def _check_phrases(url: str, path: pathlib.Path, description: bytes) -> None:
    try:
        promised = parse_json(description)["phrases_sha256"]
        found = hashlib.sha256(np.load(path, mmap_mode="r", allow_pickle=False).data).hexdigest()
    except (ValueError, KeyError, TypeError, OSError, EOFError, tokenize.TokenError) as error:
        raise DatasetError(f"{url} is no dataset made by build_dataset, or a damaged one: {error}") from error
    if found != promised:
        raise DatasetError(
            f"{url}: {PHRASES_FILE} has sha256 {found}, {DESCRIPTION_FILE} promises {promised}; upload the dataset "
            "again"
        )
