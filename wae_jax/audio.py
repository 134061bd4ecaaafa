"""Phrases as sound: rendered by symusic with the sound font that pretty_midi brings, written by soundfile.

These three are imported where they are needed, so that everything else works without them; `missing_parts` says
beforehand what is not there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import math
import os
import pathlib
from typing import Any

import numpy as np

from wae_jax.metrics.music import Notes, notes
from wae_jax.pianoroll import DEFAULT_TEMPO, LOWEST_PITCH, STEPS_PER_BEAT, TRACKS

SAMPLE_RATE = 44100
PEAK = 0.9
VELOCITY = 100
SOUND_FONT = "TimGM6mb.sf2"

_REQUIREMENTS = {"symusic": '"symusic>=0.5.8,<0.6"', "soundfile": "soundfile", "pretty_midi": '"pretty_midi>=0.2.10"'}

# The last sounds may die away for so long after the end of the phrase, and end in a fade.
TAIL_SECONDS = 1.5
_FADE_SECONDS = 0.02
_INAUDIBLE = 1e-3

# The synthesiser ends a sound with its note, and phrases have drum notes of one step: a twentieth of a second of a
# cymbal is a click. Struck drums ring on, so each hit is rendered this long and dies away at this rate.
_RING_SECONDS = 1.5
_RING_DECAY_SECONDS = 0.4

# General MIDI's program 17, the Power kit: of the standard kit's acoustic snare the synthesiser plays 6 milliseconds.
_DRUM_KIT = 16

# symusic 0.5.8 never returns from a bass note at MIDI 105 or 107. So far above any bass, an octave lower will do.
_BASS_PROGRAM = 33
_HIGHEST_BASS_PITCH = 96

# One call of soundfile for minutes of sound can crash its Vorbis encoder; blocks of this many samples don't.
_BLOCK = 1 << 16


def missing_parts() -> str | None:
    """Says what to install before sound can be made: one sentence, or None where nothing is missing."""
    missing = [requirement for module, requirement in _REQUIREMENTS.items() if not _importable(module)]
    if not missing and not _sound_font().is_file():
        missing = [f"--force-reinstall {_REQUIREMENTS['pretty_midi']}"]
    if not missing:
        return None
    return f"No sound can be made before the missing parts are installed: pip install {' '.join(missing)}"


def render(roll: np.ndarray, *, tempo: float = DEFAULT_TEMPO, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Plays a phrase, or several in a row.

    Args:
      roll: bool or 0/1 integers, [steps, P, K] with any number of steps, or phrases in a row [B, steps, P, K].
      tempo: quarter notes a minute.
      sample_rate: samples a second.

    Returns:
      float32 [samples, 2], left and right. It is as long as the roll, and up to 1.5 seconds longer where sounds die
      away. The loudest sample is 0.9; a silent roll gives zeros.

    Raises:
      ValueError: if the roll has another shape or is not binary, or the tempo is not positive.
      RuntimeError: if a part is missing; the message is that of `missing_parts`.
    """
    if not (math.isfinite(tempo) and tempo > 0):
        raise ValueError(f"tempo is {tempo}; expected a positive number of quarter notes a minute")
    if (missing := missing_parts()) is not None:
        raise RuntimeError(missing)
    rolls = roll[None] if roll.ndim == 3 else roll
    found = notes(rolls)
    seconds_per_step = 60 / (tempo * STEPS_PER_BEAT)
    start = (found.phrase * rolls.shape[1] + found.onset) * seconds_per_step
    num_samples = round(rolls.shape[0] * rolls.shape[1] * seconds_per_step * sample_rate)

    mix = np.zeros((num_samples + round(TAIL_SECONDS * sample_rate), 2), np.float32)
    _add(mix, 0, _play_pitched(found, start, seconds_per_step, sample_rate))
    drums = np.isin(found.track, [k for k, track in enumerate(TRACKS) if track.is_drum])
    for pitch, seconds in zip(found.pitch[drums].tolist(), start[drums].tolist(), strict=True):
        _add(mix, round(seconds * sample_rate), _drum_hit(pitch, sample_rate))
    return _finish(mix, num_samples, sample_rate)


def write_audio(path: str | os.PathLike[str], samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Writes sound in the format that the file's extension names.

    Args:
      path: ending in .ogg (Vorbis), .mp3, .flac or .wav (16 bit); a file that is there is replaced, and only once the
        new one is complete.
      samples: float [samples, channels], between -1 and 1.
      sample_rate: samples a second.

    Raises:
      ValueError: if the extension is another.
    """
    import soundfile

    path = pathlib.Path(path)
    formats = {
        ".ogg": ("OGG", "VORBIS"),
        ".mp3": ("MP3", "MPEG_LAYER_III"),
        ".flac": ("FLAC", "PCM_16"),
        ".wav": ("WAV", "PCM_16"),
    }
    if path.suffix.lower() not in formats:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(formats)}")
    container, encoding = formats[path.suffix.lower()]
    part = path.with_name(f".{path.name}.part")
    with soundfile.SoundFile(
        part, "w", samplerate=sample_rate, channels=samples.shape[1], format=container, subtype=encoding
    ) as file:
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    part.replace(path)


def _importable(module: str) -> bool:
    """Whether the import succeeds; soundfile raises OSError where the system has no libsndfile."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


def _sound_font() -> Any:
    """Where the sound font lies inside the installed pretty_midi."""
    return importlib.resources.files("pretty_midi") / SOUND_FONT


@functools.cache
def _synthesizer(sample_rate: int) -> Any:
    """A synthesiser with the sound font loaded, which takes a tenth of a second."""
    import symusic

    with importlib.resources.as_file(_sound_font()) as path:
        return symusic.Synthesizer(path, sample_rate=sample_rate)


def _play(tracks: list[Any], sample_rate: int) -> np.ndarray:
    """Renders symusic tracks in seconds: float32 [samples, 2], not normalised."""
    import symusic

    score = symusic.Score(ttype="second")
    for track in tracks:
        score.tracks.append(track)
    return _synthesizer(sample_rate).render(score, stereo=True).T


def _track(program: int, is_drum: bool, start: np.ndarray, length: np.ndarray, pitch: np.ndarray) -> Any:
    """A symusic track of notes in seconds; `pitch` counts rows of the piano-roll."""
    import symusic

    track = symusic.Track(program=program, is_drum=is_drum, ttype="second")
    track.notes = symusic.Note.from_numpy(
        start.astype(np.float32),
        length.astype(np.float32),
        (pitch + LOWEST_PITCH).astype(np.int8),
        np.full(len(pitch), VELOCITY, np.int8),
        ttype="second",
    )
    return track


def _play_pitched(found: Notes, start: np.ndarray, seconds_per_step: float, sample_rate: int) -> np.ndarray:
    """Renders all tracks but the drums; of no length where they are silent."""
    tracks = []
    for k, track in enumerate(TRACKS):
        mine = found.track == k
        if mine.any() and not track.is_drum:
            length = found.length[mine] * seconds_per_step
            pitch = found.pitch[mine]
            if track.program == _BASS_PROGRAM:
                pitch = np.where(pitch + LOWEST_PITCH > _HIGHEST_BASS_PITCH, pitch - 12, pitch)
            tracks.append(_track(track.program, False, start[mine], length, pitch))
    # symusic refuses a score without notes.
    return _play(tracks, sample_rate) if tracks else np.zeros((0, 2), np.float32)


@functools.cache
def _drum_hit(pitch: int, sample_rate: int) -> np.ndarray:
    """One stroke of a drum that rings and dies away; of no length where the kit has no drum at this pitch."""
    stroke = _track(_DRUM_KIT, True, np.zeros(1), np.full(1, _RING_SECONDS), np.full(1, pitch))
    sound = _play([stroke], sample_rate)
    seconds = np.arange(len(sound), dtype=np.float32)[:, None] / sample_rate
    sound = sound * np.exp(-seconds / _RING_DECAY_SECONDS)
    return sound[: _audible_length(sound)]


def _add(mix: np.ndarray, start: int, sound: np.ndarray) -> None:
    """Adds a sound to the mix in place, from a sample on; what reaches beyond the end is lost."""
    sound = sound[: max(0, len(mix) - start)]
    mix[start : start + len(sound)] += sound


def _audible_length(sound: np.ndarray) -> int:
    """Samples up to the last that is louder than -60 dB of the loudest; 0 for silence."""
    loudness = np.maximum(np.abs(sound[:, 0]), np.abs(sound[:, 1]))
    audible = np.flatnonzero(loudness > _INAUDIBLE * loudness.max(initial=0))
    return int(audible[-1]) + 1 if audible.size else 0


def _finish(mix: np.ndarray, num_samples: int, sample_rate: int) -> np.ndarray:
    """Cuts the inaudible part of the tail, fades the very end out, and sets the loudest sample to the peak."""
    mix = mix[: max(num_samples, _audible_length(mix))]
    fade = min(len(mix), round(_FADE_SECONDS * sample_rate))
    mix[len(mix) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    loudest = np.abs(mix).max(initial=0)
    return mix * (PEAK / loudest) if loudest > 0 else mix
