"""Phrases as sound: rendered by symusic, written by soundfile.

These parts are imported where they are used, so that everything else works without them; `missing_parts` checks for
them.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from wae_jax.errors import SoundFontError
from wae_jax.files import whole_file
from wae_jax.pianoroll import DEFAULT_TEMPO, PROGRAMS, STEPS_PER_BEAT, BinaryPiece, BinaryPieces
from wae_jax.render import synthesizer
from wae_jax.render.sound_font import DEFAULT_FONT, read_font, with_root_keys_in_headers
from wae_jax.render.synthesizer import Stereo

SAMPLE_RATE = 44100
PEAK = 0.9

# soundfile's names of the container and of the encoding in it, by the file's extension.
FORMATS = {
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
}

# The last sounds may die away for this long after the end of the phrase, and end in a fade.
TAIL_SECONDS = 1.5
_FADE_SECONDS = 0.02

# One call of soundfile for minutes of sound can crash its Vorbis encoder; blocks of this many samples don't.
_BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Audio:
    """Format of sound files and how they are made."""

    format: str = "ogg"  # of the files, one of `FORMATS`
    sound_font: str | None = None  # a SoundFont 2 file; None for the one that pretty_midi brings


DEFAULT_AUDIO = Audio()


def describe(audio: Audio) -> str:
    """Synthesizer with its version, and sound font."""
    font = DEFAULT_FONT if audio.sound_font is None else pathlib.Path(audio.sound_font).name
    return f"symusic {importlib.metadata.version('symusic')} with {font}"


def missing_parts(audio: Audio) -> str | None:
    """A sentence about what to install before sound can be made; None if nothing is missing."""
    problem = _find_problem(audio.sound_font)
    return problem and f"no sound can be made: {problem}"


def _find_problem(font: str | None) -> str | None:
    try:
        import symusic  # noqa: F401
    except ImportError:
        return 'symusic is missing; pip install "symusic>=0.5.8,<0.6"'
    try:
        # symusic checks less when loading, and some damaged fonts make it end the process.
        with_root_keys_in_headers(read_font(font))
    except (SoundFontError, OSError) as error:
        return str(error)
    try:
        import soundfile  # noqa: F401
    except ImportError:
        return "soundfile is missing; pip install soundfile"
    except OSError as error:  # the package is there, the system's library is not
        return f"soundfile does not work ({error}); install libsndfile with the system's packages"
    return None


def render(
    roll: BinaryPiece | BinaryPieces,
    *,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
    audio: Audio = DEFAULT_AUDIO,
    sample_rate: int = SAMPLE_RATE,
) -> Stereo:
    """Plays a phrase, or several in a row.

    Args:
      roll: one piece, or several in a row.
      tempo: quarter notes a minute.
      programs: General MIDI programs, from 0, one a track; the first is that of the drum kit.
      audio: has the sound font; its format is not used.
      sample_rate: samples a second.

    Returns:
      Left and right channel, as long as the roll or, where sounds die away, up to 1.5 seconds longer. The loudest
      sample is 0.9; a silent roll gives zeros.

    Raises:
      ValueError: if the roll has another shape or is not binary, or the tempo is not positive.
      ImportError, SoundFontError, OSError: if a part is missing; see `missing_parts`.
    """
    if not (math.isfinite(tempo) and tempo > 0):
        raise ValueError(f"tempo is {tempo}; expected a positive number of quarter notes a minute")
    rolls = roll[None] if roll.ndim == 3 else roll
    num_samples = round(rolls.shape[0] * rolls.shape[1] * 60 / (tempo * STEPS_PER_BEAT) * sample_rate)
    sound = synthesizer.mix(
        rolls,
        tempo=tempo,
        programs=programs,
        font=audio.sound_font,
        sample_rate=sample_rate,
        num_samples=num_samples + round(TAIL_SECONDS * sample_rate),
    )
    # The inaudible part of the tail is cut, and the very end fades out.
    sound = sound[: max(num_samples, synthesizer.audible_length(sound))]
    fade = min(len(sound), round(_FADE_SECONDS * sample_rate))
    sound[len(sound) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    loudest = np.abs(sound).max(initial=0)
    return sound * (PEAK / loudest) if loudest > 0 else sound


def write_audio(
    path: str | os.PathLike[str], samples: Float[np.ndarray, "samples channels"], sample_rate: int = SAMPLE_RATE
) -> None:
    """Writes sound in the format that the file's extension names.

    Args:
      path: ending in .ogg (Vorbis), .mp3, .flac or .wav (16 bit); an existing file is replaced only once the new one
        is complete.
      samples: between -1 and 1.
      sample_rate: samples a second.

    Raises:
      ValueError: if the extension is another.
      OSError: if the file cannot be written.
    """
    import soundfile

    path = pathlib.Path(path)
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected one of {', '.join('.' + name for name in FORMATS)}")
    container, encoding = FORMATS[name]
    settings = {"channels": samples.shape[1], "format": container, "subtype": encoding}
    # Encoded in memory: where a disk is full, soundfile raises an error that does not say so.
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", samplerate=sample_rate, **settings) as file:
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    with whole_file(path) as part:
        part.write_bytes(content.getvalue())
