"""What memory keeps of the phrases that were read: forty bytes each, where a phrase has ten thousand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Shaped

# The order of bytes is fixed, because shards of one data set may be made on different machines.
ENTRY = np.dtype(
    [("source", "<i4"), ("song", "<i4"), ("first_bar", "<i8"), ("tempo", "<f8"), ("key", "<u8", (2,))], align=True
)

NO_SONG = -1
NO_BAR = -1


@dataclasses.dataclass(frozen=True)
class PhraseTable:
    """One entry for each phrase, in the order in which they were read.

    Attributes:
      entries: of type `ENTRY`: `source`, the input that the phrase comes from, by its place among the inputs; `song`, a
        place in `songs`, or `NO_SONG` where that is not known; `first_bar`, the bar of the song at which it starts,
        from 0, or `NO_BAR`; `tempo`, quarter notes a minute at its start, or NaN; `key`, equal for equal phrases, see
        `splits.phrase_keys`.
      songs: the names of songs, each once.
    """

    entries: Shaped[np.ndarray, " N"]
    songs: Sequence[str]

    def __len__(self) -> int:
        """How many phrases."""
        return len(self.entries)

    def take(self, rows: Shaped[np.ndarray, " M"]) -> PhraseTable:
        """The entries of these numbers or of this mask; songs keep their places."""
        return PhraseTable(self.entries[rows], self.songs)

    def song_name(self, song: int) -> str:
        """The name at a place of `songs`; nothing for `NO_SONG`."""
        return self.songs[song] if song != NO_SONG else ""


class TableBuilder:
    """A table that grows, and of which the end can be taken back."""

    def __init__(self) -> None:
        # Bytes, which grow without an object for each phrase.
        self._entries = bytearray()
        self._songs: dict[str, int] = {}

    def __len__(self) -> int:
        """How many phrases there are."""
        return len(self._entries) // ENTRY.itemsize

    def add(
        self,
        source: int,
        keys: Sequence[bytes],
        *,
        songs: Iterable[str | None],
        first_bars: Iterable[int | None],
        tempos: Iterable[float | None],
    ) -> None:
        """Adds the phrases of one input, or some of them.

        Args:
          source: the place of the input.
          keys: of the phrases, see `splits.phrase_keys`.
          songs: the song of each.
          first_bars: the bar at which each starts.
          tempos: at which each starts.

        Raises:
          OverflowError: if a bar is beyond the 2**63rd; then nothing is added.
        """
        entries = np.zeros(len(keys), ENTRY)
        entries["source"] = source
        entries["first_bar"] = [NO_BAR if bar is None else bar for bar in first_bars]
        entries["tempo"] = [np.nan if tempo is None else tempo for tempo in tempos]
        entries["key"] = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
        number = self._songs
        entries["song"] = [NO_SONG if song is None else number.setdefault(song, len(number)) for song in songs]
        self._entries += entries.data.cast("B") if len(entries) else b""

    def truncate(self, num_phrases: int) -> None:
        """Takes back all but the first so many phrases."""
        del self._entries[num_phrases * ENTRY.itemsize :]

    def num_songs(self, start: int) -> int:
        """How many songs the phrases from this one on are of."""
        songs = np.frombuffer(self._entries, ENTRY, offset=start * ENTRY.itemsize)["song"]
        return len(set(songs.tolist()) - {NO_SONG})

    def table(self) -> PhraseTable:
        """What was added, without a copy: nothing may be added any more."""
        return PhraseTable(np.frombuffer(self._entries, ENTRY), list(self._songs))
