"""A flat folder of phrases as arrays, MIDI, pictures and sound.

phrases.npz         all phrases, in the layout of MuseGAN's train_x_lpd_5_phr.npz
probabilities.npy   float16 [B, T, P, K], where given
phrase_0000.mid     one phrase, with its .png and its .ogg, .mp3, .flac or .wav
phrase_0000.npz     the phrase as pypianoroll's Multitrack, where asked for
all_phrases.mid     all phrases in a row
grid.png            the first sixteen
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, TypeVar

import numpy as np

from wae_jax.files import whole_file
from wae_jax.pianoroll import (
    DEFAULT_TEMPO,
    NUM_BARS,
    NUM_PITCHES,
    NUM_TRACKS,
    PROGRAMS,
    STEPS_PER_BAR,
    BinaryRolls,
    Probabilities,
    check_rolls,
)
from wae_jax.render import midi, phrase_plots
from wae_jax.render.audio import DEFAULT_AUDIO, FORMATS, Audio, missing_parts, render, write_audio
from wae_jax.render.multitrack import write_multitrack
from wae_jax.render.style import save_figure
from wae_jax.render.synthesizer import Stereo

GRID_PHRASES = 16
_SECONDS_BETWEEN_LINES = 5
# Of the files that the docstring lists.
_NAME = re.compile(
    rf"phrases\.npz|probabilities\.npy|all_phrases\.mid|grid\.png|phrase_\d{{4,}}\.(mid|npz|png|{'|'.join(FORMATS)})"
)
_Item = TypeVar("_Item")


def write_phrases(
    directory: str | os.PathLike[str],
    rolls: BinaryRolls,
    *,
    probabilities: Probabilities | None = None,
    names: Sequence[str] | None = None,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
    tonics: Sequence[int] | None = None,
    audio: Audio | None = DEFAULT_AUDIO,
    pictures: bool = True,
    each_picture: bool = True,
    multitracks: bool = False,
    log: Callable[[str], object] = print,
) -> None:
    """Writes phrases into one folder, in the files that the docstring of this module lists.

    Existing files are replaced, each once the new one is complete.

    Args:
      directory: created with its parents.
      rolls: at least one phrase.
      probabilities: of the cells.
      names: titles of pictures and MIDI files, one a phrase; by default phrase_0000 and so on.
      tempo: quarter notes a minute.
      programs: General MIDI programs, from 0, one a track.
      tonics: for the key signatures of MIDI files, one a phrase, as in `midi.write_midi`; None writes none.
      audio: how to make sound, a quarter of a second a file; None for none. What it lacks is logged.
      pictures: whether to write .png files.
      each_picture: whether to draw each phrase, as slow as its sound, and not only grid.png.
      multitracks: whether to write Multitracks, 6 kB each.
      log: called with each line for the user.

    Raises:
      ValueError: if shapes or numbers do not fit, or the rolls are not binary; no file is written then.
    """
    stems = [f"phrase_{i:04d}" for i in range(len(rolls))]
    names = stems if names is None else names
    _check(rolls, probabilities, names)
    if audio is not None and (missing := missing_parts(audio)) is not None:
        log(missing)
        audio = None
    (directory := pathlib.Path(directory)).mkdir(parents=True, exist_ok=True)
    playing: dict[str, Any] = {"tempo": tempo, "programs": programs}
    # First, since it refuses invalid rolls before anything is written.
    midi.write_midi(directory / "all_phrases.mid", rolls, name="all phrases", tonics=tonics, **playing)
    _write_arrays(directory, rolls, probabilities)
    if pictures:
        first = slice(GRID_PHRASES)
        save_figure(phrase_plots.plot_grid(rolls[first], titles=names[first]), directory / "grid.png")
    with _encoders() as write_in_background:
        keys = [None] * len(rolls) if tonics is None else [[tonic] for tonic in tonics]
        for stem, name, roll, key in _with_progress(list(zip(stems, names, rolls, keys, strict=True)), directory, log):
            midi.write_midi(directory / f"{stem}.mid", roll, name=name, tonics=key, **playing)
            if multitracks:
                write_multitrack(directory / f"{stem}.npz", roll, name=name, **playing)
            if pictures and each_picture:
                save_figure(phrase_plots.plot_phrase(roll, title=name), directory / f"{stem}.png")
            if audio is not None:
                write_in_background(directory / f"{stem}.{audio.format}", render(roll, audio=audio, **playing))


def written_files(directory: pathlib.Path) -> list[pathlib.Path]:
    """The files in a folder that have names which `write_phrases` gives, sorted; there may be no such folder."""
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name) and not path.is_dir())


def _with_progress(items: list[_Item], directory: pathlib.Path, log: Callable[[str], object]) -> Iterator[_Item]:
    """The items, with a line to the log now and then."""
    reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - reported > _SECONDS_BETWEEN_LINES:
            log(f"{done} of {len(items)} phrases written to {directory}")
            reported = time.monotonic()


def _check(rolls: BinaryRolls, probabilities: Probabilities | None, names: Sequence[str]) -> None:
    check_rolls(rolls)
    if not len(rolls) or len(names) != len(rolls):
        raise ValueError(f"there are {len(rolls)} phrases and {len(names)} names; expected at least one, one name each")
    if probabilities is not None and probabilities.shape != rolls.shape:
        raise ValueError(f"probabilities has shape {probabilities.shape}; expected that of the rolls, {rolls.shape}")


def _write_arrays(directory: pathlib.Path, rolls: BinaryRolls, probabilities: Probabilities | None) -> None:
    bars = np.asarray(rolls).reshape(-1, NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    with whole_file(directory / "phrases.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, nonzero=np.array(np.nonzero(bars), np.int64), shape=np.array(bars.shape))
    if probabilities is not None:
        with whole_file(directory / "probabilities.npy") as part, part.open("wb") as file:
            np.save(file, np.asarray(probabilities, np.float16))


@contextlib.contextmanager
def _encoders() -> Iterator[Callable[[pathlib.Path, Stereo], None]]:
    """Yields `write_audio` in threads: most encoders take longer than the synthesizer, and use one core.

    It blocks while many files wait, since a minute of sound takes 20 MB. At the end all files are complete, or the
    error of one that could not be written is raised.
    """
    workers = os.cpu_count() or 1
    waiting: collections.deque[futures.Future[None]] = collections.deque()
    with futures.ThreadPoolExecutor(workers) as pool:

        def write(path: pathlib.Path, samples: Stereo) -> None:
            if len(waiting) == 2 * workers:
                waiting.popleft().result()
            waiting.append(pool.submit(write_audio, path, samples))

        yield write
        for each in waiting:
            each.result()
