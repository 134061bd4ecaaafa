"""What every kind of input gives to a data set: packed phrases a chunk at a time, with what is known of each."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from wae_jax.errors import SourceError
from wae_jax.pianoroll import PackedPhrases

DRUM_LENGTHS = ("onset", "full")
TONALITIES = ("keep", "signature", "estimate")


@dataclasses.dataclass(frozen=True)
class Options:
    """How inputs are read; each kind of input heeds what concerns it.

    Attributes:
      threshold: a cell of a float array is on where it is above this; None refuses float arrays.
      hop_bars: from a song, phrases start every so many bars.
      drum_length: of `DRUM_LENGTHS`; "onset" makes every drum note of a song one step long, "full" keeps its length.
      tonality: of `TONALITIES`; how the pitched tracks of a song are moved to C major or A minor: "keep" leaves them,
        "signature" goes by the song's key signature and estimates a key where there is none, "estimate" always
        estimates.
    """

    threshold: float | None = None
    hop_bars: int = 4
    drum_length: str = "onset"
    tonality: str = "keep"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some consecutive phrases of an input.

    Attributes:
      rows: the phrases.
      songs: the song of each, or None where the input does not tell.
      first_bars: the bar of the song at which each starts, from 0; None where it is not known.
      tempos: quarter notes a minute at the start of each; None where the input does not tell.
    """

    rows: PackedPhrases
    songs: list[str] | None = None
    first_bars: list[int | None] | None = None
    tempos: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """An input that could be opened.

    Attributes:
      sha256: of the file, in hexadecimal.
      chunks: the phrases; raises SourceError, and nothing else, where the file turns out damaged.
      num_phrases: how many phrases `chunks` gives, where that is known beforehand.
      rows: the first phrase taken and the one after the last, where not all are.
      is_song: whether the input is one song, so that it is all that its phrases need to be named after.
      notes_out_of_range: how many notes were left out because their pitch is outside MIDI numbers 24 to 107.
    """

    sha256: str
    chunks: Iterator[Chunk]
    num_phrases: int | None = None
    rows: tuple[int, int] | None = None
    is_song: bool = False
    notes_out_of_range: int = 0


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turns every exception into a SourceError: parsers raise all sorts of them on damaged files."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"cannot be read ({type(error).__name__}: {error})") from error
