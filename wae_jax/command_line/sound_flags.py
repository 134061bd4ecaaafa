"""The flags that say how phrases sound, for the programs that write them."""

from __future__ import annotations

import argparse

from wae_jax.errors import RequestError
from wae_jax.pianoroll import DEFAULT_TEMPO, PROGRAMS, TRACK_NAMES
from wae_jax.render.audio import DEFAULT_AUDIO, FORMATS, SYNTHS, Audio, missing_parts

_TEMPOS = (10, 1000)
_TRACKS = {name.lower(): i for i, name in enumerate(TRACK_NAMES)}


def add_sound_flags(parser: argparse.ArgumentParser) -> None:
    """Adds tempo, programs, and all about sound files."""
    parser.add_argument("--tempo", type=float, default=DEFAULT_TEMPO, help="bpm (default 100)")
    parser.add_argument(
        "--programs",
        type=parse_programs,
        default=PROGRAMS,
        metavar="TRACK=NUMBER,...",
        help="instruments by General MIDI's numbers, from 0, in MIDI and sound, as piano=4,bass=38; drums=8 is a kit",
    )
    parser.add_argument(
        "--audio-format", choices=FORMATS, default=DEFAULT_AUDIO.format, help="of sound files (default %(default)s)"
    )
    parser.add_argument(
        "--synth", choices=SYNTHS, default=DEFAULT_AUDIO.synth, help="makes the sound (default %(default)s)"
    )
    parser.add_argument("--sound-font", metavar="FILE", help="a SoundFont 2 file (default: the one of pretty_midi)")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="no sound files")


def check_sound_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where one of these flags is out of range."""
    slowest, fastest = _TEMPOS
    if not slowest <= arguments.tempo <= fastest:
        parser.error(f"--tempo is {arguments.tempo}; expected {slowest} to {fastest} bpm")


def parse_programs(text: str) -> tuple[int, ...]:
    """Programs from what stands behind --programs; tracks that are not named keep theirs.

    Args:
      text: such as "piano=4,bass=38".

    Returns:
      General MIDI's programs, from 0, one a track.

    Raises:
      ArgumentTypeError: if a track or a number is none.
    """
    programs = list(PROGRAMS)
    for part in text.split(","):
        name, _, number = part.partition("=")
        track = _TRACKS.get(name.strip().lower())
        if track is None:
            raise argparse.ArgumentTypeError(f"{part!r} names no track; expected one of {', '.join(_TRACKS)}")
        if not number.strip().isdecimal() or int(number) > 127:
            raise argparse.ArgumentTypeError(f"{part!r} has no program; expected a number from 0 to 127")
        programs[track] = int(number)
    return tuple(programs)


def requested_audio(arguments: argparse.Namespace) -> Audio | None:
    """How sound files are to be made; None for none.

    Raises:
      RequestError: if a synthesiser or a sound font was asked for that cannot be used. Where the defaults cannot, no
        sound is made, and whoever writes the files says so.
    """
    if not arguments.audio:
        return None
    audio = Audio(arguments.audio_format, arguments.synth, arguments.sound_font)
    is_asked_for = arguments.sound_font is not None or arguments.synth != DEFAULT_AUDIO.synth
    if is_asked_for and (missing := missing_parts(audio)) is not None:
        raise RequestError(missing)
    return audio
