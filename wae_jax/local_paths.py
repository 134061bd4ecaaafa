"""Flags that name addresses such as gs://bucket/runs/x, turned into paths for the programs, which know paths alone.

What is to be read is copied, and what is written is uploaded when the program is done. What the program says of these
copies it says of the addresses.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from wae_jax.data_source import fetch_data
from wae_jax.dataset import DESCRIPTION_FILE
from wae_jax.mirror import pull
from wae_jax.remote import RemoteError, Store, cache_folder, copy_path, is_remote, written_to
from wae_jax.workdir import CONFIG_FILE

# Of these runs only the evaluations are read.
_WITHOUT_CHECKPOINTS = ("compare",)


@contextlib.contextmanager
def local_paths(arguments: argparse.Namespace, names: dict[str, str]) -> Iterator[argparse.Namespace]:
    """A command line with paths in the place of addresses, for as long as the block lasts.

    Args:
      arguments: of the command line. `output` is what the program writes; all other strings that are addresses are of
        what it reads.
      names: is filled with the address of each path; see `renamed`.

    Raises:
      RemoteError: if something cannot be read or written.
    """
    given = vars(arguments)
    addresses = [each for value in given.values() for each in _each(value) if is_remote(each)]
    if not addresses:
        yield arguments
        return
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="input-", dir=cache_folder()))

    def local(value: str, flag: str) -> str:
        if not is_remote(value):
            return value
        path = _fetch(value, scratch / str(len(names)), checkpoints=flag not in _WITHOUT_CHECKPOINTS)
        names[str(path)] = value
        return str(path)

    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        paths: dict[str, Any] = {}
        for flag, value in given.items():
            if flag == "output" or not any(map(is_remote, _each(value))):
                paths[flag] = value
            elif isinstance(value, str):
                paths[flag] = local(value, flag)
            else:
                paths[flag] = [local(each, flag) for each in value]
        if any(map(is_remote, _each(given.get("output")))):
            output = stack.enter_context(written_to(given["output"], overwrite=given.get("overwrite", True)))
            names[str(output)] = given["output"]
            paths["output"] = str(output)
        stack.enter_context(contextlib.redirect_stdout(_Renaming(sys.stdout, names)))
        yield argparse.Namespace(**paths)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text with addresses in the place of the paths of their copies."""
    for path, address in names.items():
        text = text.replace(path, address)
    return text


def _each(value: Any) -> list[str]:
    """The strings of a flag's value."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _fetch(address: str, folder: pathlib.Path, *, checkpoints: bool) -> pathlib.Path:
    """Copies a file, a data set, what is to be read of a work folder, or all of any other folder."""
    store = Store(address)
    names = store.sizes()
    if not names:
        raise RemoteError(f"there is nothing at {address}")
    if DESCRIPTION_FILE in names:
        return fetch_data(address)
    path = copy_path(address, folder)
    if CONFIG_FILE in names:
        pull(store, path, checkpoints=checkpoints)
    else:
        for name in names:
            store.get(name, path / name if name else path)
    return path


class _Renaming:
    """A stream in which paths of copies become addresses."""

    def __init__(self, stream: TextIO, names: Mapping[str, str]) -> None:
        self._stream = stream
        self._names = names

    def write(self, text: str) -> int:
        return self._stream.write(renamed(text, self._names))

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
