"""Sound by symusic's synthesizer: pip-installed, the same everywhere."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from wae_jax.pianoroll import LOWEST_PITCH, STEPS_PER_BEAT, TRACKS, BinaryPieces
from wae_jax.pianoroll.notes import find_notes
from wae_jax.render.sound_font import read_font, with_root_keys_in_headers

Stereo = Float32[np.ndarray, "samples 2"]  # left and right channel

VELOCITY = 100
_INAUDIBLE = 1e-3

# The synthesizer ends a sound with its note, and drum notes last one step: a twentieth of a second of a cymbal is a
# click. So each hit is rendered this long and dies away at this rate.
_RING_SECONDS = 1.5
_RING_DECAY_SECONDS = 0.4

# By track, with TimGM6mb only: symusic plays its drums and basses a third as loud, beside the rest, as intended.
_GAINS = (1.8, 1.4, 0.9, 2.0, 0.6)
# General MIDI's Power kit in place of the standard kit, of whose acoustic snare the synthesizer plays 6 milliseconds.
_KITS = {0: 16}


def mix(
    rolls: BinaryPieces, *, tempo: float, programs: Sequence[int], font: str | None, sample_rate: int, num_samples: int
) -> Stereo:
    """Plays phrases in a row.

    Args:
      rolls: phrases.
      tempo: quarter notes a minute.
      programs: General MIDI programs, from 0, one a track; the first is that of the drum kit.
      font: a SoundFont 2 file; None for pretty_midi's.
      sample_rate: samples a second.
      num_samples: length of the result.

    Returns:
      Left and right channel, not normalized.
    """
    found = find_notes(rolls)
    seconds_per_step = 60 / (tempo * STEPS_PER_BEAT)
    start = (found.phrase * rolls.shape[1] + found.onset) * seconds_per_step
    total = np.zeros((num_samples, 2), np.float32)
    for k, track in enumerate(TRACKS):
        of_track = found.track == k
        pitch = found.pitch[of_track] + LOWEST_PITCH
        gain = _GAINS[k] if font is None else 1.0
        if track.is_drum:
            kit = _KITS.get(programs[k], programs[k]) if font is None else programs[k]
            for key, seconds in zip(pitch.tolist(), start[of_track].tolist(), strict=True):
                _add(total, round(seconds * sample_rate), gain * _drum_hit(key, kit, font, sample_rate))
        elif pitch.size:  # symusic refuses a score without notes.
            length = found.length[of_track] * seconds_per_step
            _add(total, 0, gain * _play(programs[k], False, start[of_track], length, pitch, font, sample_rate))
    return total


def audible_length(sound: Stereo) -> int:
    """Number of samples up to the last one above -60 dB of the loudest; 0 for silence."""
    loudness = np.abs(sound).max(axis=1)
    audible = np.flatnonzero(loudness > _INAUDIBLE * loudness.max(initial=0))
    return int(audible[-1]) + 1 if audible.size else 0


@functools.lru_cache(maxsize=4)
def _synthesizer(font: str | None, sample_rate: int) -> Any:
    """A synthesizer with a sound font loaded, which takes .1 s."""
    import symusic

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "font.sf2"
        path.write_bytes(with_root_keys_in_headers(read_font(font)))
        return symusic.Synthesizer(path, sample_rate=sample_rate)


def _play(
    program: int,
    is_drum: bool,
    start: Float[np.ndarray, " notes"],
    length: Float[np.ndarray, " notes"],
    pitch: Int64[np.ndarray, " notes"],
    font: str | None,
    sample_rate: int,
) -> Stereo:
    """Plays the notes of one instrument, at least one; times are in seconds, pitches MIDI numbers."""
    import symusic

    track = symusic.Track(program=program, is_drum=is_drum, ttype="second")
    track.notes = symusic.Note.from_numpy(
        start.astype(np.float32),
        length.astype(np.float32),
        pitch.astype(np.int8),
        np.full(len(pitch), VELOCITY, np.int8),
        ttype="second",
    )
    score = symusic.Score(ttype="second")
    score.tracks.append(track)
    return _synthesizer(font, sample_rate).render(score, stereo=True).T


@functools.lru_cache(maxsize=512)
def _drum_hit(pitch: int, kit: int, font: str | None, sample_rate: int) -> Stereo:
    """One hit of a drum that dies away; empty where the kit has no drum at this MIDI number."""
    sound = _play(kit, True, np.zeros(1), np.full(1, _RING_SECONDS), np.full(1, pitch), font, sample_rate)
    seconds = np.arange(len(sound), dtype=np.float32)[:, None] / sample_rate
    sound = sound * np.exp(-seconds / _RING_DECAY_SECONDS)
    return sound[: audible_length(sound)]


def _add(mix: Stereo, start: int, sound: Float32[np.ndarray, "others 2"]) -> None:
    """Adds a sound to the mix in place, from sample `start`; cut at the end of the mix."""
    sound = sound[: max(0, len(mix) - start)]
    mix[start : start + len(sound)] += sound
