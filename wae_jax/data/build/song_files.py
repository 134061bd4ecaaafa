"""Readers of songs: MIDI files, and npz files of pypianoroll's Multitrack, the format of the Lakh Pianoroll Dataset.

pypianoroll itself is used for neither: its `read` truncates and drops notes, and its `load` makes dense rolls, which
takes as much memory as a file claims to need.
"""

from __future__ import annotations

import fractions
import hashlib
import json
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from wae_jax.data.build import key_estimation, midi_validation
from wae_jax.data.build.segmentation import cut
from wae_jax.data.build.songs import MAX_BARS, Song, family, tracks_by_name
from wae_jax.data.build.sources import Chunk, Options, Source
from wae_jax.errors import SourceError
from wae_jax.files import file_sha256
from wae_jax.pianoroll import STEPS_PER_BEAT, TRACK_NAMES
from wae_jax.render.midi import PHRASES_TEXT

# The tempo of a MIDI file before its first tempo event.
DEFAULT_BPM = 120.0

# Reading takes twenty times the memory of the file. Songs are shorter than 1 MB.
MAX_MIDI_BYTES = 1 << 24
# All arrays of an npz together, unpacked; a few bytes can unpack to gigabytes.
MAX_NPZ_BYTES = 1 << 28

_PHRASES_EVENT = b"\xff\x01%c%b" % (len(PHRASES_TEXT), PHRASES_TEXT.encode())


def open_midi(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """Opens a MIDI file of any name."""
    if path.stat().st_size > MAX_MIDI_BYTES:
        raise SourceError(f"is a MIDI file of {path.stat().st_size} bytes; expected at most {MAX_MIDI_BYTES}")
    data = path.read_bytes()
    return _song_source(read_midi(data), hashlib.sha256(data).hexdigest(), rows, options)


def open_multitrack_npz(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """Opens an npz of pypianoroll's Multitrack."""
    return _song_source(read_multitrack_npz(path), file_sha256(path), rows, options)


def _song_source(song: Song, sha256: str, rows: slice | None, options: Options) -> Source:
    phrases, changes = cut(song, options)
    start, stop, _ = (rows or slice(None)).indices(len(phrases.rows))
    if start >= stop:
        raise SourceError(f"gives {len(phrases.rows)} phrases, of which the requested rows select none")
    selected = None if rows is None else (start, stop)
    chunk = Chunk(
        phrases.rows[start:stop],
        first_bars=phrases.first_bars and phrases.first_bars[start:stop],
        tempos=phrases.tempos and phrases.tempos[start:stop],
        semitones=phrases.semitones and phrases.semitones[start:stop],
    )
    return Source(sha256, iter([chunk]), stop - start, selected, True, changes)


def read_midi(data: bytes) -> Song:
    """Reads a MIDI file of format 0 or 1, to the end of its last track.

    A note-off ends the oldest note of its pitch that is still held on its channel and track. Notes without an end are
    left out, and so are signatures without a meaning (a key signature of mode 255, say). A program may change in the
    middle of a track, but applies to that track alone. Tracks are assigned by their programs; where each of the names
    of the five is that of one track, as in what `generate` writes, those go by their names, so that they can be given
    other instruments.

    Raises:
      SourceError: if the file is damaged, or is not one song in ticks a quarter note.
    """
    import symusic

    data = midi_validation.validated(data)
    score = symusic.Score.from_midi(data)
    named = tracks_by_name(_track_names(data))
    notes = [np.zeros((4, 0), np.int64)]
    for track in score.tracks:
        if (k := named.get(track.name, family(track.program, track.is_drum))) is not None:
            columns = track.notes.numpy()
            notes.append(
                np.stack([columns["time"], columns["duration"], columns["pitch"], np.full_like(columns["time"], k)])
            )
    start, duration, pitch, number = np.concatenate(notes, axis=1, dtype=np.int64)
    # symusic reads ticks that it has no room for as negative numbers.
    if min(start.min(initial=0), duration.min(initial=0)) < 0:
        raise SourceError("unreadable: it has a note beyond tick 2147483647, the last that symusic counts to")

    meters = [(meter.time, meter.numerator, meter.denominator) for meter in score.time_signatures]
    events = score.tempos.numpy()
    is_valid = events["mspq"] > 0
    tempos = np.stack([events["time"][is_valid], 6e7 / events["mspq"][is_valid]], axis=1)
    signatures = [
        (event.time, *key_estimation.key_of_signature(event.key, bool(event.tonality)))
        for event in score.key_signatures
        if abs(event.key) <= 7 and event.tonality in (0, 1)
    ]
    return Song(
        score.ticks_per_quarter,
        start,
        start + duration,
        pitch,
        number,
        meters=np.array([meter for meter in meters if min(meter[1:]) > 0 <= meter[0]], np.int64).reshape(-1, 3),
        tempos=np.concatenate([[[0, DEFAULT_BPM]], tempos]),
        keys=np.array(signatures, np.int64).reshape(-1, 3),
        begins_with_phrase=_PHRASES_EVENT in data,
        end_tick=max((marker.time for marker in score.markers), default=0),
    )


def _track_names(data: bytes) -> list[str]:
    """The names in `TRACK_NAMES` that each track of a valid MIDI file has; symusic leaves out tracks without a note."""
    events = {name: b"\xff\x03%c%b" % (len(name), name.encode()) for name in TRACK_NAMES}
    return [",".join(name for name, event in events.items() if event in track) for track in data.split(b"MTrk")]


def read_multitrack_npz(path: pathlib.Path) -> Song:
    """Reads a Multitrack saved by pypianoroll, of version 0 (as the Lakh Pianoroll Dataset) or 1.

    A tick of the song is a time step of the file, a note is a run of active cells of one pitch, and a bar lasts from
    one downbeat to the next. From the last downbeat to the end of the rolls all bars are as long as the one before it,
    since `pypianoroll.read` marks no downbeat after the last time signature. A file with one downbeat or none, as most
    are, is in 4/4 from there. Tracks are assigned as in a MIDI file.

    Raises:
      SourceError: if the file is something else, or its resolution is neither a multiple nor a divisor of 12.
    """
    # NumPy warns of headers written by Python 2, which are right nevertheless.
    with warnings.catch_warnings(), path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        warnings.simplefilter("ignore")
        size = sum(member.file_size for member in file.zip.infolist())
        if size > MAX_NPZ_BYTES:
            raise SourceError(f"unpacks to {size} bytes; expected at most {MAX_NPZ_BYTES}")
        if "info.json" not in file.files:
            raise SourceError(f"has the keys {', '.join(sorted(file.files)) or '(none)':.200}; expected info.json")
        info = json.loads(file["info.json"])
        resolution = _resolution(info)
        tracks = _families(info)
        rolls = [_runs(file, f"pianoroll_{i}_csc_") for i in range(len(tracks))]
        downbeat, tempo = (file[name].ravel() if name in file.files else np.zeros(0) for name in ("downbeat", "tempo"))

    kept = [(runs, k) for (runs, _), k in zip(rolls, tracks, strict=True) if k is not None]
    notes = [np.column_stack([runs, np.full(len(runs), k)]) for runs, k in kept]
    start, end, pitch, track = np.concatenate([np.zeros((0, 4), np.int64), *notes]).T
    num_steps = max([downbeat.size, *(length for _, length in rolls)])
    meters = _meters(np.flatnonzero(downbeat), resolution)
    tempos = _tempo_changes(_tempo_of_steps(tempo, num_steps, resolution))
    return Song(resolution, start, end, pitch, track, meters=meters, tempos=tempos, end_tick=num_steps)


def _resolution(info: Mapping[str, Any]) -> int:
    resolution = info.get("resolution", info.get("beat_resolution"))
    is_number = isinstance(resolution, int) and resolution > 0
    if not is_number or (resolution % STEPS_PER_BEAT and STEPS_PER_BEAT % resolution):
        raise SourceError(
            f"has a resolution of {resolution!r:.80} steps a quarter note; expected a multiple or a divisor of "
            f"{STEPS_PER_BEAT}"
        )
    return resolution


def _families(info: Mapping[str, Any]) -> list[int | None]:
    """The index into `TRACKS` of each track of the file; None if it is in none of them."""
    tracks: list[Mapping[str, Any]] = []
    while (track := info.get(str(len(tracks)))) is not None:
        tracks.append(track)
    named = tracks_by_name([track["name"] for track in tracks])
    return [named.get(track["name"], family(track["program"], track["is_drum"])) for track in tracks]


def _runs(file: np.lib.npyio.NpzFile, name: str) -> tuple[np.ndarray, int]:
    """The notes of a track, and its number of steps; `name` begins the keys of its sparse array [steps, 128].

    A note is its first step, the step after its last, and its pitch: int64 [notes, 3].
    """
    data, indices, indptr, shape = (file[name + part] for part in ("data", "indices", "indptr", "shape"))
    indices, indptr, shape = (array.astype(np.int64, casting="safe") for array in (indices, indptr, shape))
    if (
        shape.shape != (2,)
        or not 0 <= shape[0] < 1 << 32
        or shape[1] != 128
        or indptr.shape != (129,)
        or indptr[0] != 0
        or (np.diff(indptr) < 0).any()
        or not data.shape == indices.shape == (indptr[-1],)
        or (indices.size and not 0 <= indices.min() <= indices.max() < shape[0])
    ):
        raise SourceError(f"{name}* is not a sparse array of shape (steps, 128), stored by columns")
    # Each pitch has one more step, an inactive one, so that no run continues into the next pitch.
    stride = int(shape[0]) + 1
    cells = np.unique((np.repeat(np.arange(128), np.diff(indptr)) * stride + indices)[data > 0])
    first = cells[np.diff(cells, prepend=-2) != 1]
    last = cells[np.diff(cells, append=-2) != 1]
    return np.stack([first % stride, last % stride + 1, first // stride], axis=1), int(shape[0])


def _meters(downbeats: np.ndarray, resolution: int) -> np.ndarray:
    """The `meters` of a `Song` whose bars start at these steps."""
    if len(downbeats) > MAX_BARS:
        raise SourceError(f"has {len(downbeats)} bars; expected at most {MAX_BARS}")
    starts = np.unique([0, *downbeats.tolist()])
    meters = [_meter(length, resolution) for length in np.diff(starts).tolist()]
    meters.append(meters[-1] if len(downbeats) > 1 else (4, 4))
    return np.column_stack([starts, meters])


def _meter(steps: int, resolution: int) -> tuple[int, int]:
    """Numerator and denominator of a bar of so many steps, in quarter notes or shorter ones."""
    whole_notes = fractions.Fraction(steps, 4 * resolution)
    scale = max(1, 4 // whole_notes.denominator)
    return whole_notes.numerator * scale, whole_notes.denominator * scale


def _tempo_of_steps(tempo: np.ndarray, num_steps: int, resolution: int) -> np.ndarray:
    """The tempo of each step of a file; nothing if the length of the array fits no other.

    `pypianoroll.read` repeats the tempos of all beats in turn, 24 times, where it should repeat each as many times as a
    beat has steps (its issue 19).
    """
    beats = tempo[: num_steps // resolution]
    if np.array_equal(tempo, np.tile(beats, 24)):
        return beats.repeat(resolution)
    return tempo if tempo.size == num_steps else tempo[:0]


def _tempo_changes(tempo: np.ndarray) -> np.ndarray:
    """Step and tempo wherever the tempo differs from that of the step before, float64 [M, 2]."""
    tempo = tempo.astype(np.float64)
    valid = np.flatnonzero(np.isfinite(tempo) & (tempo > 0))
    changes = valid[np.diff(tempo[valid], prepend=0) != 0]
    return np.stack([changes, tempo[changes]], axis=1)
