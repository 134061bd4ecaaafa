"""Real processes, with inputs that behave badly."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from tests.data.build.test_formats import midi_bytes, save_multitrack
from wae_jax.data.build.sources import Input, Options, Source
from wae_jax.data.build.workers import read_songs
from wae_jax.errors import SourceError

ROOT = pathlib.Path(__file__).parents[3]


def write_songs(folder, num):
    songs = []
    for i in range(num):
        path = folder / f"{i}.mid"
        path.write_bytes(midi_bytes() if i % 3 else b"MThd and nothing")
        songs.append(Input(str(path)))
    return songs


def test_songs_come_in_their_order_with_the_reasons_of_those_that_fail(tmp_path):
    songs = write_songs(tmp_path, 20)
    save_multitrack(tmp_path / "m.npz")
    songs.append(Input(str(tmp_path / "m.npz"), rows=slice(0, 1)))
    results = list(read_songs(songs, Options(), num_workers=2))
    assert [isinstance(result, Source) for result in results] == [bool(i % 3) for i in range(20)] + [True]
    assert all(isinstance(results[i], SourceError) and str(results[i]) for i in range(0, 20, 3))
    rows = [np.concatenate([chunk.rows for chunk in results[i].chunks]) for i in (1, 2, 20)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len(rows[2]) == 1
    assert not multiprocessing.active_children()


# A reader that is killed by what it reads, as a fault in a library of another language would.
CRASHING = """
import os, pathlib, signal, sys
from wae_jax.data.build import formats, workers
from wae_jax.data.build.sources import Input
from wae_jax.data.build.sources import Options, Source

real = formats.open_source

def open_source(path, **how):
    if "evil" in pathlib.Path(path).name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(path, **how)

formats.open_source = open_source

if __name__ == "__main__":
    for result in workers.read_songs([Input(path) for path in sys.argv[1:]], Options(), num_workers=2):
        print("read" if isinstance(result, Source) else result)
"""


def test_a_song_that_crashes_its_reader_is_named_and_the_others_are_read(tmp_path):
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING)
    names = ["a.mid", "evil1.mid", "b.mid", "c.mid", "evil2.mid", "d.mid"]
    for name in names:
        (tmp_path / name).write_bytes(midi_bytes())
    done = subprocess.run(
        [sys.executable, script, *(str(tmp_path / name) for name in names)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    crash = "crashes the process that reads it"
    assert done.stdout.splitlines() == ["read", crash, "read", "read", crash, "read"]
    assert "Traceback" not in done.stderr


WAITING = """
import os, sys, time
from wae_jax.data.build import formats, workers
from wae_jax.data.build.sources import Input
from wae_jax.data.build.sources import Options

def open_source(path, **how):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)

formats.open_source = open_source

if __name__ == "__main__":
    list(workers.read_songs([Input(sys.argv[1])], Options(), num_workers=1))
"""


def test_readers_end_with_a_parent_that_is_killed(tmp_path):
    script, started = tmp_path / "waiting.py", tmp_path / "started"
    script.write_text(WAITING)
    parent = subprocess.Popen([sys.executable, script, started], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    reader = pathlib.Path("/proc") / started.read_text()
    while reader.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
