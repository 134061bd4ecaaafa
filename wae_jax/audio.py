"""Phrases as sound: rendered by symusic with the sound font that pretty_midi brings, written by soundfile.

These three are imported where they are needed, so that everything else works without them; `missing_parts` says
beforehand what is not there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import itertools
import math
import os
import pathlib
import struct
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from wae_jax.files import whole_file
from wae_jax.metrics.notes import notes
from wae_jax.pianoroll import DEFAULT_TEMPO, LOWEST_PITCH, STEPS_PER_BEAT, TRACKS, BinaryPiece, BinaryPieces

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

# The mix, by track. symusic plays this font's drums and basses a third as loud beside the rest as they are meant.
_GAINS = (1.8, 1.4, 0.9, 2.0, 0.6)

# Numbers that the SoundFont 2.01 specification gives to two settings of a zone, and its layout of a sample's header.
_ROOT_KEY = 58
_SAMPLE = 53
_SAMPLE_HEADER = np.dtype([("recording", "V40"), ("root_key", "u1"), ("rest", "V5")])

# Left and right.
Stereo = Float32[np.ndarray, "samples 2"]

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


def render(roll: BinaryPiece | BinaryPieces, *, tempo: float = DEFAULT_TEMPO, sample_rate: int = SAMPLE_RATE) -> Stereo:
    """Plays a phrase, or several in a row.

    Args:
      roll: one piece, or several in a row.
      tempo: quarter notes a minute.
      sample_rate: samples a second.

    Returns:
      Left and right. It is as long as the roll, and up to 1.5 seconds longer where sounds die
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
    for k, track in enumerate(TRACKS):
        mine = found.track == k
        pitch = found.pitch[mine] + LOWEST_PITCH
        if track.is_drum:
            for key, seconds in zip(pitch.tolist(), start[mine].tolist(), strict=True):
                _add(mix, round(seconds * sample_rate), _GAINS[k] * _drum_hit(key, sample_rate))
        elif pitch.size:  # symusic refuses a score without notes.
            length = found.length[mine] * seconds_per_step
            _add(mix, 0, _GAINS[k] * _play(track.program, False, start[mine], length, pitch, sample_rate))
    return _finish(mix, num_samples, sample_rate)


def write_audio(
    path: str | os.PathLike[str], samples: Float[np.ndarray, "samples channels"], sample_rate: int = SAMPLE_RATE
) -> None:
    """Writes sound in the format that the file's extension names.

    Args:
      path: ending in .ogg (Vorbis), .mp3, .flac or .wav (16 bit); a file that is there is replaced, and only once the
        new one is complete.
      samples: between -1 and 1.
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
    settings = {"channels": samples.shape[1], "format": container, "subtype": encoding}
    with whole_file(path) as part, soundfile.SoundFile(part, "w", samplerate=sample_rate, **settings) as file:
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])


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

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / SOUND_FONT
        path.write_bytes(_with_root_keys_in_headers(_sound_font().read_bytes()))
        return symusic.Synthesizer(path, sample_rate=sample_rate)


def _with_root_keys_in_headers(font: bytes) -> bytes:
    """Rewrites a sound font so that symusic plays it in tune.

    The key at which a sample sounds as it was recorded stands in the sample's header, and may be stated anew by each
    zone of an instrument that uses the sample. symusic overlooks the latter (its issue 55), so that most notes of
    this font come out up to three octaves off, and the highest of the bass never end. Here each zone that states a
    key gets a copy of the header with that key, which means the same to a synthesiser that heeds both.
    """
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
    """The chunks of RIFF data: names and bodies."""
    at = 0
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _join(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Undoes `_split`."""
    return b"".join(struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2) for name, body in chunks)


def _play(
    program: int,
    is_drum: bool,
    start: Float[np.ndarray, " notes"],
    length: Float[np.ndarray, " notes"],
    pitch: Int64[np.ndarray, " notes"],
    sample_rate: int,
) -> Stereo:
    """Plays the notes of one instrument, at least one; not normalised.

    Times are in seconds, pitches MIDI numbers.
    """
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
    return _synthesizer(sample_rate).render(score, stereo=True).T


@functools.cache
def _drum_hit(pitch: int, sample_rate: int) -> Stereo:
    """One stroke of a drum that rings and dies away; of no length where the kit has no drum at this MIDI number."""
    sound = _play(_DRUM_KIT, True, np.zeros(1), np.full(1, _RING_SECONDS), np.full(1, pitch), sample_rate)
    seconds = np.arange(len(sound), dtype=np.float32)[:, None] / sample_rate
    sound = sound * np.exp(-seconds / _RING_DECAY_SECONDS)
    return sound[: _audible_length(sound)]


def _add(mix: Stereo, start: int, sound: Float32[np.ndarray, "others 2"]) -> None:
    """Adds a sound to the mix in place, from a sample on; what reaches beyond the end is lost."""
    sound = sound[: max(0, len(mix) - start)]
    mix[start : start + len(sound)] += sound


def _audible_length(sound: Stereo) -> int:
    """Samples up to the last that is louder than -60 dB of the loudest; 0 for silence."""
    loudness = np.maximum(np.abs(sound[:, 0]), np.abs(sound[:, 1]))
    audible = np.flatnonzero(loudness > _INAUDIBLE * loudness.max(initial=0))
    return int(audible[-1]) + 1 if audible.size else 0


def _finish(mix: Stereo, num_samples: int, sample_rate: int) -> Float32[np.ndarray, "others 2"]:
    """Cuts the inaudible part of the tail, fades the very end out, and sets the loudest sample to the peak."""
    mix = mix[: max(num_samples, _audible_length(mix))]
    fade = min(len(mix), round(_FADE_SECONDS * sample_rate))
    mix[len(mix) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    loudest = np.abs(mix).max(initial=0)
    return mix * (PEAK / loudest) if loudest > 0 else mix
