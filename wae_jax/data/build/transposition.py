"""Chooses the keys by which songs are transposed: of signatures that fit the notes, else estimated from the notes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax.data.build import key_estimation
from wae_jax.data.build.songs import IS_DRUM, Song
from wae_jax.data.build.sources import Transposition


def find_transpositions(
    song: Song, tonality: str, ticks: Int64[np.ndarray, " windows"]
) -> tuple[list[Transposition], Int64[np.ndarray, " windows"]]:
    """Transpositions of the pitched tracks of a song, and the index of the one that holds at each tick.

    The key is estimated once, from all pitched tracks and the whole song. With the tonality "signature" it gives way to
    the signature that holds at the tick, if that fits the notes which start under it.

    Args:
      song: the song.
      tonality: "signature" or "estimate".
      ticks: of the song.
    """
    signatures = _signatures(song) if tonality == "signature" else song.keys[:0]
    # Programs write C major where nobody chose a key. Where one signature is another, somebody chose all of them.
    is_default = not signatures[:, 1:].any()
    pitched = ~IS_DRUM[song.track]
    section = np.searchsorted(signatures[:, 0], song.start, side="right")
    estimate = key_estimation.estimate_key(_times(song, pitched))
    found = [transposition_of(*estimate, "estimate")]
    for i, (_, tonic, minor) in enumerate(signatures.tolist(), 1):
        signed = transposition_of(tonic, bool(minor), "signature")
        times = _times(song, pitched & (section == i))
        if signed.semitones == found[0].semitones or key_estimation.signature_fits(
            times, tonic, bool(minor), is_default=is_default
        ):
            found.append(signed)
        else:
            found.append(found[0]._replace(rejected_signature=signed.key))
    return found, np.searchsorted(signatures[:, 0], ticks, side="right")


def _signatures(song: Song) -> Int64[np.ndarray, "keys 3"]:
    """The changes of key signature in a song, `[keys, 3]`; of several at one tick, the last one holds."""
    keys = song.keys[np.diff(song.keys[:, 0], append=-1) != 0]
    return keys[(np.diff(keys[:, 1:], axis=0, prepend=-1) != 0).any(axis=1)]


def _times(song: Song, chosen: Bool[np.ndarray, " notes"]) -> Float64[np.ndarray, " pitch_classes=12"]:
    return key_estimation.sounding_times(song.pitch[chosen], song.start[chosen], song.end[chosen])


def transposition_of(tonic: int, is_minor: bool, by: str) -> Transposition:
    """The transposition of a key to C major or A minor; `by` is its source, "signature" or "estimate"."""
    name, semitones = key_estimation.key_name(tonic, is_minor), key_estimation.shift_to_c(tonic, is_minor)
    return Transposition(name, by, semitones, rejected_signature=None)
