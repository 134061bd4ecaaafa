"""Values that the stages of a build hand on: its spec, opened inputs, and the table of all phrases that were read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from wae_jax.errors import RequestError, SourceError
from wae_jax.pianoroll import PackedPhrases

DRUM_LENGTHS = ("onset", "full")
DEFAULT_DRUM_LENGTH = "onset"
TONALITIES = ("keep", "signature", "estimate")
DEFAULT_TONALITY = "signature"
OUT_OF_RANGE = ("drop", "fold")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of reading inputs. Every reader uses the fields that concern it.

    Drum notes of length "onset" last one step, "full" keeps their length. The tonality "keep" leaves the pitches of a
    song as they are; "signature" transposes the pitched tracks to C major or A minor by the key signature, or by an
    estimated key where there is none that fits the notes; "estimate" always uses an estimated key. Arrays are
    transposed by "estimate" alone, each of their songs by the key of all its phrases.
    Notes of songs whose pitch is then out of range are left out by "drop"; "fold" moves those of pitched tracks by
    octaves. Those of arrays are always moved.
    """

    threshold: float | None = None  # above which cells of a float array are active; None refuses them
    hop_bars: int = 4  # between the starts of two phrases of a song
    drum_length: str = DEFAULT_DRUM_LENGTH  # one of `DRUM_LENGTHS`
    tonality: str = "keep"  # one of `TONALITIES`; that of build_dataset is `DEFAULT_TONALITY`
    out_of_range: str = "drop"  # one of `OUT_OF_RANGE`


class Input(NamedTuple):
    """A file to read, or a folder without any."""

    path: str
    split: str | None = None  # of its phrases; None if a rule decides
    rows: slice | None = None  # the phrases to read; None for all
    folder: str | None = None  # of the command line in which the file was found; None if the file itself was named
    song: str = ""  # name of the song if the file is one
    is_listed: bool = False  # `song` is from a table of the user's


@dataclasses.dataclass(frozen=True)
class BuildSpec:
    """Everything that decides the bytes of a dataset: its inputs and how they are read, filtered and split."""

    inputs: Sequence[Input]  # in the order of reading; either all of them name a split or none does
    options: Options  # how songs and float arrays are read
    min_tracks: int  # phrases with fewer active tracks are left out
    seed: int  # of the split by song
    valid_fraction: float  # of the songs, or of the phrases of a block
    test_fraction: float
    song_table: str | None = None  # file that names the songs of the inputs


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive phrases of one input."""

    rows: PackedPhrases
    songs: Sequence[str] | None = None  # name of the song of each; None if the input has no names
    first_bars: Sequence[int | None] | None = None  # of the song, from 0; None where unknown
    tempos: Sequence[float] | None = None  # quarter notes a minute, those that last longest in the phrase
    semitones: Sequence[int] | None = None  # by which each was transposed, positive is up; None where that is unknown


class Transposition(NamedTuple):
    """How phrases of a song were transposed to C major or A minor."""

    key: str  # before
    by: str  # "signature" or "estimate"
    semitones: int  # up
    rejected_signature: str | None  # the key of a signature that does not fit the notes


class OutOfRange(NamedTuple):
    """Notes of one track of a song whose MIDI numbers, once transposed, are not 24 to 107."""

    outside: int
    notes: int  # of the track, in range or not
    octaves: int  # up, by which the whole track was moved into the range


@dataclasses.dataclass(frozen=True)
class NoteChanges:
    """Changes made to the notes of an input; only notes that start in a phrase are counted."""

    # In the order of the phrases, of an array one for each song; none if pitches were kept.
    transpositions: Sequence[Transposition] = ()
    out_of_range: Mapping[str, OutOfRange] = dataclasses.field(default_factory=dict)  # by the track's name

    @property
    def num_out_of_range(self) -> int:
        """The number of notes out of range on all tracks."""
        return sum(track.outside for track in self.out_of_range.values())


@dataclasses.dataclass(frozen=True)
class Source:
    """An input that could be opened."""

    sha256: str  # of the file
    chunks: Iterator[Chunk]  # raises only SourceError, when the file turns out to be damaged
    num_phrases: int  # in `chunks`
    rows: tuple[int, int] | None = None  # the selected range, [start, stop); None for all
    is_song: bool = False  # one song, named after its file
    changes: NoteChanges = dataclasses.field(default_factory=NoteChanges)


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turns every exception into a SourceError: parsers raise all sorts of them on damaged files."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"cannot be read ({type(error).__name__}: {error})") from error


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns a SourceError, which says what is wrong with a file, into a RequestError that names the file first."""
    try:
        yield
    except SourceError as error:
        raise RequestError(f"{path} {error}") from error


# One phrase in memory: the index of its input, the index of its song's name, the bar of the song at which it starts,
# quarter notes a minute (or NaN), semitones up by which it was transposed, a digest that is equal for equal phrases.
RECORD = np.dtype(
    [("source", "i4"), ("song", "i4"), ("first_bar", "i8"), ("tempo", "f8"), ("semitones", "i1"), ("key", "u8", (2,))]
)
UNKNOWN = -1
UNKNOWN_SHIFT = 127


class PhraseTable(NamedTuple):
    """All phrases that were read, in the order of reading."""

    # Of type `RECORD`; song and first_bar may be `UNKNOWN`, semitones `UNKNOWN_SHIFT`.
    records: Shaped[np.ndarray, " N"]
    songs: Sequence[str]  # the names of the songs, each once
