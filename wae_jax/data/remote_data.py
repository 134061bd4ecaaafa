"""Data sets at URLs, copied once to a local cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pathlib
import re

import numpy as np

from wae_jax.data.dataset import DESCRIPTION_FILE, INDEX_FILE, PHRASES_FILE
from wae_jax.errors import DatasetError
from wae_jax.files import whole_file
from wae_jax.remote import RemoteFolder, is_url

_ROWS_AT_A_TIME = 4096


def local_dataset(path: str) -> pathlib.Path:
    """The folder of a data set; one at a URL is copied to `$XDG_CACHE_HOME/wae_jax` or `~/.cache/wae_jax`.

    The copy is made once, and again when dataset.json at the URL has changed.

    Raises:
      RemoteError: if the URL cannot be reached, or a file of the data set is missing there.
      DatasetError: if the phrases are not those that dataset.json promises.
    """
    if not is_url(path):
        return pathlib.Path(path)
    remote = RemoteFolder(path)
    folder = _cache_folder(remote.url)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this host may be copying the same
        remote.download([DESCRIPTION_FILE], folder / "new")
        description = (folder / "new" / DESCRIPTION_FILE).read_bytes()
        held = folder / DESCRIPTION_FILE
        if not held.exists() or held.read_bytes() != description:
            held.unlink(missing_ok=True)
            remote.download([PHRASES_FILE, INDEX_FILE], folder)
            _check_phrases(remote.url, folder / PHRASES_FILE, description)
            # Last: with it the copy is complete.
            with whole_file(held, durable=True) as part:
                part.write_bytes(description)
    return folder


def _cache_folder(url: str) -> pathlib.Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    readable = re.sub(r"[^\w.-]+", "_", url)[-60:]
    return pathlib.Path(cache) / "wae_jax" / "data" / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _check_phrases(url: str, path: pathlib.Path, description: bytes) -> None:
    try:
        promised = json.loads(description)["phrases_sha256"]
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise DatasetError(f"{url} is no data set made by build_dataset, or a damaged one: {error}") from error
    digest = hashlib.sha256()
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        digest.update(rows[start : start + _ROWS_AT_A_TIME].tobytes())
    if digest.hexdigest() != promised:
        raise DatasetError(
            f"{url}: {PHRASES_FILE} has sha256 {digest.hexdigest()}, {DESCRIPTION_FILE} promises {promised}; "
            "upload the data set again"
        )
