"""Flags of the commands that write music: tempo, instruments and sound files."""

from __future__ import annotations

import argparse

from wae_jax.command_line.arguments import number
from wae_jax.errors import RequestError
from wae_jax.pianoroll import DEFAULT_TEMPO, PROGRAMS, TRACK_NAMES
from wae_jax.render.audio import DEFAULT_AUDIO, FORMATS, Audio, missing_parts

_TRACKS = {name.lower(): i for i, name in enumerate(TRACK_NAMES)}
_LARGEST_PROGRAM = 127


def add_sound_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --tempo, --programs and the flags of sound files."""
    parser.add_argument("--tempo", type=number(10, 1000, "bpm"), default=DEFAULT_TEMPO, help="bpm (default 100)")
    parser.add_argument(
        "--programs",
        type=parse_programs,
        default=PROGRAMS,
        metavar="TRACK=NUMBER,...",
        help="General MIDI programs from 0, in MIDI and sound, such as piano=4,bass=38; that of drums is a kit",
    )
    parser.add_argument(
        "--audio-format", choices=FORMATS, default=DEFAULT_AUDIO.format, help="of sound files (default %(default)s)"
    )
    parser.add_argument("--sound-font", metavar="FILE", help="a SoundFont 2 file (default: the one of pretty_midi)")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="no sound files")


def parse_programs(text: str) -> tuple[int, ...]:
    """General MIDI programs from 0, one a track, such as "piano=4,bass=38"; the others have their defaults."""
    programs = list(PROGRAMS)
    for part in text.split(","):
        name, _, program = part.partition("=")
        track = _TRACKS.get(name.strip().lower())
        if track is None:
            raise argparse.ArgumentTypeError(f"{part!r} names no track; expected one of {', '.join(_TRACKS)}")
        if not program.strip().isdecimal() or int(program) > _LARGEST_PROGRAM:
            raise argparse.ArgumentTypeError(f"{part!r} has no program; expected a number from 0 to {_LARGEST_PROGRAM}")
        programs[track] = int(program)
    return tuple(programs)


def requested_audio(arguments: argparse.Namespace) -> Audio | None:
    """The format and sound font of sound files, or None for no sound files.

    Raises:
      RequestError: if a sound font was requested that cannot be used. Where the default cannot be used, the writer of
        the files makes no sound and says so.
    """
    if not arguments.audio:
        return None
    audio = Audio(arguments.audio_format, arguments.sound_font)
    if audio.sound_font is not None and (missing := missing_parts(audio)) is not None:
        raise RequestError(missing)
    return audio
