"""Songs as inputs: MIDI files, and pypianoroll's Multitrack as npz, in which the Lakh Pianoroll Dataset comes."""

from __future__ import annotations

import fractions
import hashlib
import json
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.data.build import key_estimation, midi_validation
from wae_jax.data.build.segmentation import cut
from wae_jax.data.build.songs import MAX_BARS, Song, family
from wae_jax.data.build.sources import Chunk, Options, Source
from wae_jax.errors import SourceError
from wae_jax.files import file_sha256
from wae_jax.pianoroll import STEPS_PER_BEAT, TRACK_NAMES

# What a MIDI file is in where it does not tell.
DEFAULT_BPM = 120.0

# Reading takes twenty times as much memory as the file is long. Songs are shorter than 1 MB.
MAX_MIDI_BYTES = 1 << 24
# Of all arrays of an npz together, unpacked; a few bytes can unpack to gigabytes.
MAX_NPZ_BYTES = 1 << 28


def open_midi(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """A MIDI file, whatever its name ends in."""
    if path.stat().st_size > MAX_MIDI_BYTES:
        raise SourceError(f"is a MIDI file of {path.stat().st_size} bytes; expected at most {MAX_MIDI_BYTES}")
    data = path.read_bytes()
    return _song_source(read_midi(data), hashlib.sha256(data).hexdigest(), rows, options)


def open_multitrack_npz(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """The npz that pypianoroll saves a Multitrack in."""
    return _song_source(read_multitrack_npz(path), file_sha256(path), rows, options)


def _song_source(song: Song, sha256: str, rows: slice | None, options: Options) -> Source:
    """The phrases of a song, or those of them that `rows` selects."""
    phrases = cut(song, options)
    num_phrases = len(phrases.rows)
    start, stop, _ = (rows or slice(None)).indices(num_phrases)
    if start >= stop:
        raise SourceError(f"gives {num_phrases} phrases, of which the rows that were asked for select none")
    chosen = slice(start, stop)
    chunk = Chunk(
        phrases.rows[chosen],
        first_bars=phrases.first_bars[chosen],
        tempos=phrases.tempos and phrases.tempos[chosen],
    )
    return Source(
        sha256,
        iter([chunk]),
        num_phrases=stop - start,
        rows=None if rows is None else (start, stop),
        is_song=True,
        notes_out_of_range=phrases.notes_out_of_range,
    )


def read_midi(data: bytes) -> Song:
    """Reads a MIDI file of format 0 or 1.

    A note-off ends the oldest note of its pitch that its channel and track still hold; a note that nothing ends is
    left out, as is a signature that makes no sense (a key signature of mode 255, say). The program may change in the
    middle of a track, but holds for that track alone.

    Raises:
      SourceError: if the file is damaged, or is not one song in ticks a quarter note.
    """
    import symusic

    score = symusic.Score.from_midi(midi_validation.sound(data))
    played = [(track, k) for track in score.tracks if (k := family(track.program, track.is_drum)) is not None]
    notes = [track.notes.numpy() for track, _ in played]
    start, duration = _joined([columns[name] for name in ("time", "duration") for columns in notes]).reshape(2, -1)
    pitch = _joined([columns["pitch"] for columns in notes])
    number = np.repeat(np.array([k for _, k in played], np.int64), [len(columns["time"]) for columns in notes])
    # A tick that symusic has no room for comes out of it negative.
    if min(start.min(initial=0), duration.min(initial=0)) < 0:
        raise SourceError("unreadable: it has a note beyond tick 2147483647, the last that symusic counts to")

    meters = [(meter.time, meter.numerator, meter.denominator) for meter in score.time_signatures]
    said = score.tempos.numpy()
    tells = said["mspq"] > 0
    tempos = np.empty((1 + np.count_nonzero(tells), 2))
    tempos[0] = 0, DEFAULT_BPM
    tempos[1:, 0], tempos[1:, 1] = said["time"][tells], 6e7 / said["mspq"][tells]
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
        tempos=tempos,
        keys=np.array(signatures, np.int64).reshape(-1, 3),
    )


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Integers one behind the other, as int64."""
    return np.concatenate([np.zeros(0, np.int64), *parts])


def read_multitrack_npz(path: pathlib.Path) -> Song:
    """Reads a Multitrack that pypianoroll has saved, of version 0 (as the Lakh Pianoroll Dataset) or 1.

    A tick of the song is a time step of the file, a note is a run of cells of a pitch that are on, and a bar goes
    from one downbeat to the next; the last is as long as the one before. A file that marks one downbeat or none, as
    most do, is in 4/4 from there.

    pypianoroll's own `load` takes as much memory as a file asks for.

    Raises:
      SourceError: if the file is something else, or its resolution is neither a multiple nor a divisor of 12.
    """
    # NumPy warns of headers that Python 2 wrote, which are right all the same.
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
    meters, end_tick = _meters(np.flatnonzero(downbeat), num_steps, resolution)
    return Song(
        resolution,
        start,
        end,
        pitch,
        track,
        meters=meters,
        # What pypianoroll.read makes of a tempo is of another length at resolutions other than 24, and useless.
        tempos=_tempo_changes(tempo if tempo.size == num_steps else tempo[:0]),
        end_tick=end_tick,
    )


def _resolution(info: Mapping[str, Any]) -> int:
    """The time steps of a quarter note."""
    resolution = info.get("resolution", info.get("beat_resolution"))
    if (
        not isinstance(resolution, int)
        or resolution < 1
        or (resolution % STEPS_PER_BEAT and STEPS_PER_BEAT % resolution)
    ):
        raise SourceError(
            f"has a resolution of {resolution!r:.80} steps a quarter note; expected a multiple or a divisor of "
            f"{STEPS_PER_BEAT}"
        )
    return resolution


def _families(info: Mapping[str, Any]) -> list[int | None]:
    """Which of the five tracks each track of the file belongs to, by its program and its drum flag.

    Raises:
      SourceError: if the tracks have the names of the five but the programs of others.
    """
    tracks: list[Mapping[str, Any]] = []
    while (track := info.get(str(len(tracks)))) is not None:
        tracks.append(track)
    found = [family(track["program"], track["is_drum"]) for track in tracks]
    names = [track["name"] for track in tracks]
    if set(names) == set(TRACK_NAMES):
        for track, k in zip(tracks, found, strict=True):
            if k is None or track["name"] != TRACK_NAMES[k]:
                belongs = "none of the five tracks" if k is None else TRACK_NAMES[k]
                raise SourceError(
                    f"calls a track {track['name']}, but its program {track['program']} is that of {belongs}"
                )
    return found


def _runs(file: np.lib.npyio.NpzFile, name: str) -> tuple[np.ndarray, int]:
    """The notes of a track, and how many steps it has.

    Args:
      file: holds the sparse columns of the array [steps, 128].
      name: what the keys start with.

    Returns:
      int64 [notes, 3]: the step at which each starts, the step before which it ends, and its pitch.
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
    # Each pitch gets a step more than it has, which is off: so that no run goes on into the next pitch.
    stride = int(shape[0]) + 1
    cells = np.unique((np.repeat(np.arange(128), np.diff(indptr)) * stride + indices)[data > 0])
    first = cells[np.diff(cells, prepend=-2) != 1]
    last = cells[np.diff(cells, append=-2) != 1]
    return np.stack([first % stride, last % stride + 1, first // stride], axis=1), int(shape[0])


def _meters(downbeats: np.ndarray, num_steps: int, resolution: int) -> tuple[np.ndarray, int]:
    """The meters of a song whose bars start at these steps, and where it ends, as `Song` has them."""
    if len(downbeats) > MAX_BARS:
        raise SourceError(f"has {len(downbeats)} bars; expected at most {MAX_BARS}")
    starts = np.unique([0, *downbeats.tolist()])
    lengths = np.diff(starts)
    meters = [(start, *_meter(length, resolution)) for start, length in zip(starts[:-1], lengths.tolist(), strict=True)]
    if len(downbeats) < 2:
        return np.array([*meters, (starts[-1], 4, 4)]), num_steps
    return np.array([*meters, (starts[-1], *meters[-1][1:])]), int(starts[-1] + lengths[-1])


def _meter(steps: int, resolution: int) -> tuple[int, int]:
    """The numerator and denominator of a bar of so many steps, in quarter notes or shorter ones."""
    whole_notes = fractions.Fraction(steps, 4 * resolution)
    scale = max(1, 4 // whole_notes.denominator)
    return whole_notes.numerator * scale, whole_notes.denominator * scale


def _tempo_changes(tempo: np.ndarray) -> np.ndarray:
    """Where the tempo of a step is not that of the step before, float64 [M, 2]: the step and the tempo."""
    tempo = tempo.astype(np.float64)
    sensible = np.flatnonzero(np.isfinite(tempo) & (tempo > 0))
    changes = sensible[np.diff(tempo[sensible], prepend=0) != 0]
    return np.stack([changes, tempo[changes]], axis=1)
