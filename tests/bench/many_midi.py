"""Makes many MIDI files out of a few, for benchmarks of large data.

    python -m tests.bench.many_midi --input midi/ --output /tmp/many --files 100000

Each file is one of those in the folder, chosen at random, moved up or down by up to six semitones but for its drums,
played at another tempo, and without one note in twenty; no two seeds give the same music. One in a hundred is a plain
copy, one in two hundred is cut off in the middle: data sets hold such files. A thousand files lie in a folder. Files of
more than `--largest` bytes are left out, which says how many phrases a file gives.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib

import numpy as np

_FILES_IN_FOLDER = 1000
_COPIED, _CUT_OFF = 0.01, 0.005
_NOTES_DROPPED = 0.05


def perturbed(data: bytes, rng: np.random.Generator) -> bytes:
    """A variation of a MIDI file."""
    import symusic

    score = symusic.Score.from_midi(data)
    up = int(rng.integers(-6, 7))
    for track in score.tracks:
        notes = track.notes.numpy()
        kept = rng.random(len(notes["time"])) >= _NOTES_DROPPED
        columns = {name: column[kept] for name, column in notes.items()}
        if not track.is_drum:
            columns["pitch"] = np.clip(columns["pitch"].astype(np.int64) + up, 0, 127).astype(np.int8)
        track.notes = symusic.Note.from_numpy(**columns, ttype="tick")
    for tempo in score.tempos:
        tempo.mspq = int(tempo.mspq * rng.uniform(0.8, 1.25))
    return score.dumps_midi()


def make(sources: list[pathlib.Path], output: pathlib.Path, num: int, seed: int) -> int:
    """Writes the files and returns their size in bytes."""
    from wae_jax.data.build import midi_validation
    from wae_jax.errors import SourceError

    rng = np.random.default_rng(seed)
    music = [path.read_bytes() for path in sources]
    total = 0
    for i in range(num):
        data = music[int(rng.integers(len(music)))]
        kind = rng.random()
        if kind < _CUT_OFF:
            data = data[: len(data) // 2]
        elif kind >= _CUT_OFF + _COPIED:
            # One that cannot be read is copied as it is.
            with contextlib.suppress(SourceError, RuntimeError):
                data = perturbed(midi_validation.validated(data), rng)
        path = output / f"{i // _FILES_IN_FOLDER:04}" / f"{i:07}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        total += len(data)
    return total


def main() -> None:
    """Makes the files and prints their size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, type=pathlib.Path, help="folder of MIDI files")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder to make")
    parser.add_argument("--files", type=int, default=100_000, help="default: 100,000")
    parser.add_argument("--largest", type=int, default=1 << 24, help="bytes of a file to start from (default: 16 MB)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.input.rglob("*.mid") if path.stat().st_size <= arguments.largest)
    if not found:
        parser.error(f"no MIDI file of at most {arguments.largest} bytes in {arguments.input}")
    total = make(found, arguments.output, arguments.files, arguments.seed)
    print(f"{arguments.files} files of {total / arguments.files:.0f} bytes, out of {len(found)}: {arguments.output}")


if __name__ == "__main__":
    main()
