"""Sound fonts: the one that pretty_midi brings, and a correction that symusic needs."""

from __future__ import annotations

import importlib.resources
import itertools
import pathlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from wae_jax.errors import SoundFontError

DEFAULT_FONT = "TimGM6mb.sf2"
_REQUIREMENT = '"pretty_midi>=0.2.10"'

# From the SoundFont 2.01 specification: numbers of two settings of a zone, and the layout of a sample's header.
_ROOT_KEY = 58
_SAMPLE = 53
_SAMPLE_HEADER = np.dtype([("recording", "V40"), ("root_key", "u1"), ("rest", "V5")])


def read_font(path: str | None) -> bytes:
    """Content of a sound font.

    Args:
      path: the file; None for the one inside the installed pretty_midi.

    Raises:
      SoundFontError: if there is no such file, or it does not begin as a sound font does.
    """
    source = _default_font() if path is None else pathlib.Path(path)
    if not source.is_file():
        raise SoundFontError(f"there is no sound font {source}; expected a SoundFont 2 file, .sf2")
    font: bytes = source.read_bytes()
    if font[:4] != b"RIFF" or font[8:12] != b"sfbk":
        raise SoundFontError(f"{source} is no sound font; expected a SoundFont 2 file, .sf2")
    return font


def _default_font() -> Any:
    try:
        source = importlib.resources.files("pretty_midi") / DEFAULT_FONT
    except ImportError as error:
        raise SoundFontError(f"the sound font is missing; pip install {_REQUIREMENT}") from error
    if not source.is_file():
        raise SoundFontError(f"the sound font is missing; pip install --force-reinstall {_REQUIREMENT}")
    return source


def with_root_keys_in_headers(font: bytes) -> bytes:
    """Rewrites a sound font so that symusic plays it in tune.

    The key at which a sample is played as it was recorded is in the sample's header, and can be overridden by each
    zone of an instrument that uses the sample. symusic ignores overrides (its issue 55), so that most notes of TimGM6mb
    come out up to three octaves off, and the highest notes of the bass never end. Here each zone that overrides the key
    gets a copy of the header with that key, which means the same to a synthesizer that reads both.

    Raises:
      SoundFontError: if the font is damaged.
    """
    try:
        return _rewrite(font)
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise SoundFontError(f"the sound font is damaged: {type(error).__name__}: {error}") from error


def _rewrite(font: bytes) -> bytes:
    ((name, body),) = _split(font)
    lists = {part[:4]: part[4:] for _, part in _split(body[4:])}
    tables = dict(_split(lists[b"pdta"]))
    first = np.frombuffer(tables[b"ibag"], "<u2")[::2].tolist()
    settings = np.frombuffer(tables[b"igen"], [("kind", "<u2"), ("amount", "<u2")]).copy()
    headers = np.frombuffer(tables[b"shdr"], _SAMPLE_HEADER)
    copies: dict[tuple[int, int], int] = {}
    for start, stop in itertools.pairwise(first):
        zone = settings[start:stop]
        root_key, sample = (zone["amount"][zone["kind"] == kind] for kind in (_ROOT_KEY, _SAMPLE))
        if root_key.size and sample.size:
            # The last header marks the end of the list, and stays the last: the copies start in its place.
            copy = copies.setdefault((int(sample[0]), int(root_key[0])), len(headers) - 1 + len(copies))
            zone["amount"][zone["kind"] == _SAMPLE] = copy
    copied = headers[[sample for sample, _ in copies]]
    copied["root_key"] = [root_key for _, root_key in copies]
    tables[b"igen"] = settings.tobytes()
    tables[b"shdr"] = np.concatenate([headers[:-1], copied, headers[-1:]]).tobytes()
    lists[b"pdta"] = _join(tables.items())
    return _join([(name, body[:4] + _join((b"LIST", kind + part) for kind, part in lists.items()))])


def _split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies of the chunks of RIFF data."""
    at = 0
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _join(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Inverse of `_split`."""
    return b"".join(struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2) for name, body in chunks)
