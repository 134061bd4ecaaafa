"""Flags of `wae_jax.generate`: its modes, and tempo, instruments and sound files."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from wae_jax.command_line.command import local_path, number, whole_number
from wae_jax.command_line.model_flags import ONLY_WITH_MODEL
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.generation.attributes import ATTRIBUTES
from wae_jax.generation.modes.code_file import read_codes
from wae_jax.generation.modes.input_phrase import InputPhrase, read_input_phrase, read_input_phrases
from wae_jax.generation.modes.keys import RANDOM, key_shift
from wae_jax.generation.modes.request import Request
from wae_jax.generation.modes.table import MODES
from wae_jax.pianoroll import DEFAULT_TEMPO, NUM_TRACKS, PROGRAMS, TRACK_NAMES, Codes
from wae_jax.render.audio import DEFAULT_AUDIO, FORMATS, Audio, missing_parts

_LARGEST_CHANGE = 5.0
# The user's files, each with the flag of the first bar that is read.
_FILES = {"--input": "--start-bar", "--from": "--from-bar", "--to": "--to-bar"}
_SOUND_FLAGS = {"audio_format": "--audio-format", "sound_font": "--sound-font"}
# Flags that have no effect where only codes are made, by their names in the parsed arguments.
_MUSIC_FLAGS = {
    **{name: flag for name, flag in ONLY_WITH_MODEL.items() if name != "checkpoint"},
    **{name: f"--{name}" for name in ("probabilities", "multitracks", "tempo", "programs", "key")},
    **_SOUND_FLAGS,
}
_MODE_FLAGS = (*_FILES, *_FILES.values(), "--codes", "--keep", "--attribute")


def add_mode_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --mode and the flags of single modes."""
    parser.add_argument("--mode", choices=MODES, default="sample", metavar="MODE", help="see above (default sample)")
    parser.add_argument(
        "--key",
        type=parse_key,
        metavar="KEY|random",
        help="key of what is written, such as D or Bm, or one at random for each phrase (default: that of --input or "
        "--from, or else C major and A minor, if the model knows only these)",
    )
    own = parser.add_argument_group(
        "your own music", "bars count from 1; the default is the first four with music, and all with encode"
    )
    for file, bar in _FILES.items():
        own.add_argument(
            file, dest=_destination(file), type=local_path, metavar="FILE", help=f"four bars of it, from {bar} on"
        )
        own.add_argument(bar, dest=_destination(bar), type=whole_number(1), metavar="BAR")
    own.add_argument("--codes", type=local_path, metavar="FILE", help="a .npy file with a code a row, to be decoded")
    own.add_argument(
        "--keep", type=parse_tracks, metavar="TRACK,...", help="some of " + ", ".join(map(str.lower, TRACK_NAMES))
    )
    own.add_argument(
        "--attribute",
        type=parse_attribute,
        action="append",
        metavar="NAME:CHANGE",
        help="change in standard deviations, such as density:+1; once for each of "
        + ", ".join(name.replace(" ", "-") for name in ATTRIBUTES),
    )


def given_mode_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The mode and its flags that were given, by name."""
    given = {_destination(flag): _value(arguments, flag) for flag in ("--mode", "--key", *_MODE_FLAGS)}
    return {name: value for name, value in given.items() if value is not None}


def given_files(arguments: argparse.Namespace) -> list[str]:
    """The paths of the user's files: phrases, codes, and the sound font."""
    paths = [*(_value(arguments, file) for file in _FILES), arguments.codes, arguments.sound_font]
    return [path for path in paths if path is not None]


def read_inputs(arguments: argparse.Namespace) -> tuple[InputPhrase, ...]:
    """The user's phrases. Raises RequestError if a file cannot be read, or does not have the four bars."""
    takes_all = MODES[arguments.mode].takes_all
    found: list[InputPhrase] = []
    for path, bar in ((_value(arguments, file), _value(arguments, bar)) for file, bar in _FILES.items()):
        if path is not None:
            found += read_input_phrases(path) if takes_all and bar is None else [read_input_phrase(path, bar)]
    return tuple(found)


def requested_codes(arguments: argparse.Namespace) -> Codes | None:
    """The user's codes, if any. Raises RequestError if the file has none."""
    return None if arguments.codes is None else read_codes(arguments.codes)


def make_request(
    arguments: argparse.Namespace,
    inputs: tuple[InputPhrase, ...],
    rule: BinarizationRule,
    codes: Codes | None = None,
) -> Request:
    """The arguments of the mode, from its flags, the user's phrases and codes, and the calibrated rule."""
    mode = MODES[arguments.mode]
    default = mode.num_with_input if inputs else mode.num
    return Request(
        num=arguments.num or default or len(inputs if codes is None else codes),
        seed=arguments.seed,
        rule=rule,
        inputs=inputs,
        codes=codes,
        keep=arguments.keep or (),
        attributes=dict(arguments.attribute or ()),
        key=arguments.key,
        may_be_fewer=arguments.num is None,
    )


def check_mode_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exits with a usage error where a flag does not apply to the mode, or a required one is missing."""
    mode = MODES[arguments.mode]
    given = {flag for flag in _MODE_FLAGS if _value(arguments, flag) is not None}
    for flag in _MODE_FLAGS:
        if flag in given and flag not in mode.flags:
            modes = " or ".join(name for name, each in MODES.items() if flag in each.flags)
            parser.error(f"{flag} applies only to --mode={modes}")
        if flag in mode.required and flag not in given:
            parser.error(f"--mode={arguments.mode} needs {' and '.join(mode.required)}")
    for file, bar in _FILES.items():
        if bar in given and file not in given:
            parser.error(f"{bar} is a bar of the file of {file}; expected {file} too")
    if len(given & {"--from", "--to"}) == 1:
        parser.error("--from and --to are the two ends of a path; expected both")
    if arguments.attribute and len(dict(arguments.attribute)) < len(arguments.attribute):
        parser.error("--attribute names one attribute twice; expected each once")
    own = given & {*_FILES}
    if arguments.num is not None and (mode.num_with_input if own else mode.num) is None:
        decides = "--input" if own else "--codes"
        parser.error(
            f"--num does not apply to --mode={arguments.mode} with {decides}, which decides how many there are"
        )


def check_music_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exits with a usage error where flags of music are given to a mode that makes none, or flags of sound for none."""

    def given(names: Mapping[str, str]) -> str:
        flags = [flag for name, flag in names.items() if getattr(arguments, name) != parser.get_default(name)]
        return ", ".join(flags)

    if not MODES[arguments.mode].makes_music and (flags := given(_MUSIC_FLAGS)):
        parser.error(f"{flags} applies only to music; --mode={arguments.mode} makes codes")
    if not arguments.audio and (flags := given(_SOUND_FLAGS)):
        parser.error(f"{flags} applies only to sound files; expected no --no-audio with it")


def parse_key(text: str) -> str:
    """A key, such as "F#" or "Bbm", or "random"."""
    try:
        if text != RANDOM:
            key_shift(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {RANDOM}") from None
    return text


def parse_tracks(text: str) -> tuple[int, ...]:
    """Ascending indices of the tracks of --keep, such as "drums,bass"."""
    known = [name.lower() for name in TRACK_NAMES]
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is no track; expected some of {', '.join(known)}")
    tracks = tuple(sorted({known.index(name) for name in names}))
    if len(tracks) == NUM_TRACKS:
        raise argparse.ArgumentTypeError("all tracks are kept, so that none is left to make; expected one to four")
    return tracks


def parse_attribute(text: str) -> tuple[str, float]:
    """The name and the change, in standard deviations, of --attribute, such as "note-length:-1.5"."""
    name, _, amount = text.rpartition(":")
    name = name.strip().lower().replace("-", " ").replace("_", " ")
    if name not in ATTRIBUTES:
        known = ", ".join(each.replace(" ", "-") for each in ATTRIBUTES)
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME:CHANGE with one of the names {known}")
    try:
        change = float(amount)
    except ValueError:
        change = math.nan
    if not 0 < abs(change) <= _LARGEST_CHANGE:
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected a change of up to {_LARGEST_CHANGE:g} standard deviations either way, as +1 or -0.5"
        )
    return name, change


def _destination(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _value(arguments: argparse.Namespace, flag: str) -> Any:
    return getattr(arguments, _destination(flag))


_TRACKS = {name.lower(): i for i, name in enumerate(TRACK_NAMES)}
_LARGEST_PROGRAM = 127
_SLOWEST, _FASTEST = 10, 1000


def add_sound_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --tempo, --programs and the flags of sound files."""
    parser.add_argument(
        "--tempo",
        type=number(_SLOWEST, _FASTEST, "bpm"),
        help="bpm (default: that of --input or --from, or else 100)",
    )
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
    parser.add_argument(
        "--sound-font", type=local_path, metavar="FILE", help="a SoundFont 2 file (default: the one of pretty_midi)"
    )
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


def requested_tempo(arguments: argparse.Namespace, inputs: Sequence[InputPhrase]) -> float:
    """Quarter notes a minute: those of --tempo, or else of the first of the user's phrases that has a tempo, or 100.

    The tempo of a phrase is moved into the range of the flag.
    """
    if arguments.tempo is not None:
        return arguments.tempo
    known = [each.tempo for each in inputs if each.tempo is not None]
    return min(max(known[0], _SLOWEST), _FASTEST) if known else DEFAULT_TEMPO


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
