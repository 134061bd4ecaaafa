"""Reads codes that `generate` or another program wrote."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from wae_jax.data.build.sources import reasons
from wae_jax.errors import RequestError, SourceError
from wae_jax.pianoroll import Codes

_EXPECTED = "expected a .npy file with a code a row, as the codes.npy that --mode=encode writes"


def read_codes(path: str | os.PathLike[str]) -> Codes:
    """The codes of a .npy file `[N, Z]` of floats or integers, as float32.

    Raises:
      RequestError: if it is another file, has no code, or has numbers that are not finite or too large for float32.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RequestError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; {_EXPECTED}")
    try:
        # A header may claim any size: a map takes no more memory than there are codes.
        with reasons():
            found = np.lib.format.open_memmap(path, mode="r")
    except SourceError as error:
        raise RequestError(f"{path} {error}; {_EXPECTED}") from error
    if found.dtype.kind not in "iuf":
        raise RequestError(f"{path} is of type {found.dtype}, not of numbers; {_EXPECTED}")
    if found.ndim != 2 or not found.size:
        raise RequestError(f"{path} has shape {found.shape}, which is not of one or more codes; {_EXPECTED}")
    with np.errstate(over="ignore"):
        codes = np.asarray(found, np.float32)
    if not (is_finite := np.isfinite(codes).all(axis=1)).all():
        raise RequestError(
            f"{path} has numbers in row {int(is_finite.argmin())} (counted from 0) that are not finite as float32; "
            "expected finite ones"
        )
    return codes
