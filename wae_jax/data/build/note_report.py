"""Reports how a build changed the notes of songs: fields of dataset.json, and lines of text."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.pitch_range import HIGHEST_PITCH
from wae_jax.data.build.sources import NoteChanges
from wae_jax.pianoroll import LOWEST_PITCH

_RANGE = f"outside MIDI numbers {LOWEST_PITCH} to {HIGHEST_PITCH}"
_KEYS = {
    ("signature", False): "signatures",
    ("estimate", False): "estimated keys",
    ("estimate", True): "estimated keys in place of signatures that do not fit the notes",
}
# Of the notes of a track; smaller shares are in dataset.json alone.
_SHARE_PRINTED = 0.1
_TRACKS_PRINTED = 10


def fields(changes: NoteChanges) -> dict[str, Any]:
    """The fields of a source in dataset.json about transposed notes and notes out of range; empty without any."""
    found: dict[str, Any] = {}
    if changes.transpositions:
        found["transposed"] = [transposition._asdict() for transposition in changes.transpositions]
    if changes.out_of_range:
        found["out_of_range"] = {name: track._asdict() for name, track in changes.out_of_range.items()}
    return found


def lines(description: Mapping[str, Any]) -> Iterator[str]:
    """Lines about transposed songs, kept arrays and notes out of range, from what dataset.json holds."""
    keys = [key for source in description["sources"] for key in source.get("transposed", [])]
    if counts := collections.Counter((key["by"], key["rejected_signature"] is not None) for key in keys):
        named = (f"{counts[kind]} {name}" for kind, name in _KEYS.items() if counts[kind])
        yield f"transposed by: {', '.join(named)}"
    if (share := description.get("kept_in_c_major")) is not None:
        kept = f"kept: the pitches of {description['kept']} phrases of arrays, {share:.0%} in the scale of C major"
        if description["tonality"] == "c":
            yield f"{kept}: taken to be in C major and A minor"
        else:
            yield f"{kept}: taken to be in any key; --tonality=estimate transposes arrays whose songs are named"
    if num_notes := description["notes_out_of_range"]:
        is_folded = description["options"].get("out_of_range") == "fold"
        yield f"{'moved by octaves, drums left out' if is_folded else 'left out'}: {num_notes} notes {_RANGE}"
        yield from _tracks(description["sources"])


def _tracks(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The tracks of which a large share is out of range, the largest shares first."""
    found = [
        (track["outside"] / track["notes"], source["path"], name, track)
        for source in sources
        for name, track in source.get("out_of_range", {}).items()
        if track["outside"] >= _SHARE_PRINTED * track["notes"]
    ]
    found.sort(key=lambda each: -each[0])
    for _, path, name, track in found[:_TRACKS_PRINTED]:
        moved = f"; the whole track moves by {track['octaves']:+d} octaves" if track["octaves"] else ""
        yield f"  {escape(path)}: {track['outside']} of {track['notes']} {name} notes lie {_RANGE}{moved}"
    if (num_more := len(found) - _TRACKS_PRINTED) > 0:
        yield f"  {num_more} more tracks have {_SHARE_PRINTED:.0%} of their notes or more there: see dataset.json"
