"""pypianoroll's reader of MIDI files."""

from __future__ import annotations

import time
import warnings

import pypianoroll

from tests.bench.contender import Contender


def read_midi(*, paths: list[str]) -> Contender:
    """MIDI files to a Multitrack each, at 12 steps a beat; a step is one file."""
    warnings.simplefilter("ignore")
    failed = place = 0

    def run(steps: int) -> None:
        nonlocal failed, place
        for _ in range(steps):
            path = paths[place % len(paths)]
            place += 1
            try:
                pypianoroll.read(path, resolution=12)
            except Exception:  # whatever its parsers raise
                failed += 1

    started = time.perf_counter()
    run(len(paths))
    first_pass = round(time.perf_counter() - started, 3)
    facts = {"library": f"pypianoroll {pypianoroll.__version__}", "unread": failed, "first_pass_s": first_pass}
    return Contender(run, facts)
