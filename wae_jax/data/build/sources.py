"""The values that the stages of a build hand on: what a reader returns, and the table of all phrases read."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from wae_jax.errors import SourceError
from wae_jax.pianoroll import PackedPhrases

DRUM_LENGTHS = ("onset", "full")
TONALITIES = ("keep", "signature", "estimate")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of reading inputs. Every reader uses the fields that concern it.

    Attributes:
      threshold: cells of a float array are active above this value; None refuses float arrays.
      hop_bars: bars between the starts of two phrases of a song.
      drum_length: one of `DRUM_LENGTHS`; "onset" makes every drum note one step long, "full" keeps its length.
      tonality: one of `TONALITIES`. "keep" leaves the pitches of a song as they are; "signature" transposes the pitched
        tracks to C major or A minor by the key signature, or by an estimated key where there is none; "estimate" always
        uses an estimated key.
    """

    threshold: float | None = None
    hop_bars: int = 4
    drum_length: str = "onset"
    tonality: str = "keep"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive phrases of one input.

    Attributes:
      rows: the packed phrases.
      songs: name of the song of each phrase; None if the input has no names.
      first_bars: bar of the song at which each phrase starts, from 0; None where unknown.
      tempos: quarter notes a minute at the start of each phrase; None if the input has no tempos.
    """

    rows: PackedPhrases
    songs: Sequence[str] | None = None
    first_bars: Sequence[int | None] | None = None
    tempos: Sequence[float] | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """An input that could be opened.

    Attributes:
      sha256: digest of the file, in hexadecimal.
      chunks: the phrases; raises only SourceError, when the file turns out to be damaged.
      num_phrases: number of phrases in `chunks`.
      rows: the selected range of phrases, [start, stop); None if all are selected.
      is_song: whether the input is one song, named after its file.
      notes_out_of_range: notes left out because their pitch is outside MIDI numbers 24 to 107.
    """

    sha256: str
    chunks: Iterator[Chunk]
    num_phrases: int
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


# One phrase in memory: the index of its input, the index of its song's name, the bar of the song at which it starts,
# quarter notes a minute (or NaN), and a digest that is equal for equal phrases.
RECORD = np.dtype([("source", "i4"), ("song", "i4"), ("first_bar", "i8"), ("tempo", "f8"), ("key", "u8", (2,))])
UNKNOWN = -1


class PhraseTable(NamedTuple):
    """All phrases that were read, in the order of reading.

    Attributes:
      records: of type `RECORD`; `song` and `first_bar` are `UNKNOWN` where the input does not have them.
      songs: the names of the songs, each once.
    """

    records: Shaped[np.ndarray, " N"]
    songs: Sequence[str]

    def select(self, rows: Shaped[np.ndarray, " M"]) -> PhraseTable:
        """The records at some indices, or under a mask; the songs keep their indices."""
        return PhraseTable(self.records[rows], self.songs)

    def song_name(self, song: int) -> str:
        """The name of a song by its index; empty for `UNKNOWN`."""
        return "" if song == UNKNOWN else self.songs[song]
