"""One folder of phrases in all the forms that people want them in: arrays, MIDI, pictures, sound."""

from __future__ import annotations

import collections
import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import IO

import numpy as np

from wae_jax.files import Closing, whole_file
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
from wae_jax.render import midi, plots
from wae_jax.render.audio import DEFAULT_AUDIO, Audio, missing_parts, render, write_audio
from wae_jax.render.audio_arrays import Stereo

GRID_PHRASES = 16
_SECONDS_BETWEEN_LINES = 5


def write_phrases(
    directory: str | os.PathLike[str],
    rolls: BinaryRolls,
    *,
    probabilities: Probabilities | None = None,
    names: Sequence[str] | None = None,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
    audio: Audio | None = DEFAULT_AUDIO,
    pictures: bool = True,
    each_picture: bool = True,
    log: Callable[[str], object] = print,
) -> None:
    """Writes phrases into one flat folder.

        phrases.npz         all of them, in the layout of MuseGAN's train_x_lpd_5_phr.npz
        probabilities.npy   what they were drawn from, float16 [B, T, P, K], where given
        phrase_0000.mid     each by itself, with its .png and its .ogg, .mp3, .flac or .wav
        all_phrases.mid     all in a row
        grid.png            the first sixteen

    Files of these names are replaced, each one only once its successor is complete; other files are left alone. Where
    sound cannot be made, one line says what to install, and all else is written.

    Args:
      directory: the folder; made, with those above it, if there is none.
      rolls: at least one phrase.
      probabilities: of the cells.
      names: titles, one a phrase, for the pictures and the MIDI files; by default phrase_0000 and so on. The files'
        own names do not depend on them.
      tempo: quarter notes a minute.
      programs: General MIDI's, from 0, one a track; the first is that of the drum kit.
      audio: how to make sound, a quarter of a second a file; None for none.
      pictures: whether to write .png files.
      each_picture: whether to write one a phrase beside grid.png, as slow as the sound.
      log: called with each line for the user.

    Raises:
      ValueError: if the rolls have another shape or are not binary, the probabilities another shape than the rolls,
        or the names another number; no file is written then.
    """
    check_rolls(rolls)
    stems = [f"phrase_{i:04d}" for i in range(len(rolls))]
    names = stems if names is None else names
    if not len(rolls) or len(names) != len(rolls):
        raise ValueError(f"there are {len(rolls)} phrases and {len(names)} names; expected at least one, one name each")
    if probabilities is not None and probabilities.shape != rolls.shape:
        raise ValueError(f"probabilities has shape {probabilities.shape}; expected that of the rolls, {rolls.shape}")
    if audio is not None and (missing := missing_parts(audio)) is not None:
        log(missing)
        audio = None

    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # The MIDI file of all phrases comes first, since it refuses what is no roll before anything is written.
    midi.write_midi(directory / "all_phrases.mid", rolls, tempo=tempo, programs=programs, name="all phrases")
    bars = np.asarray(rolls).reshape(-1, NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    _write(
        directory / "phrases.npz",
        functools.partial(
            np.savez_compressed, nonzero=np.array(np.nonzero(bars), np.int64), shape=np.array(bars.shape)
        ),
    )
    if probabilities is not None:
        half = np.asarray(probabilities, np.float16)
        _write(directory / "probabilities.npy", functools.partial(np.save, arr=half))
    if pictures:
        first = slice(GRID_PHRASES)
        plots.save_figure(plots.plot_grid(rolls[first], titles=names[first]), directory / "grid.png")

    reported = time.monotonic()
    with _Encoding() as encoding:
        for i, (stem, name, roll) in enumerate(zip(stems, names, rolls, strict=True)):
            midi.write_midi(directory / f"{stem}.mid", roll, tempo=tempo, programs=programs, name=name)
            if pictures and each_picture:
                plots.save_figure(plots.plot_phrase(roll, title=name), directory / f"{stem}.png")
            if audio is not None:
                samples = render(roll, tempo=tempo, programs=programs, audio=audio)
                encoding.add(directory / f"{stem}.{audio.format}", samples)
            if time.monotonic() - reported > _SECONDS_BETWEEN_LINES:
                log(f"{i + 1} of {len(rolls)} phrases written to {directory}")
                reported = time.monotonic()


class _Encoding(Closing):
    """Writes sound files beside the program: most encoders take longer than the synthesiser, and use one core."""

    def __init__(self) -> None:
        workers = os.cpu_count() or 1
        self._pool = futures.ThreadPoolExecutor(workers)
        self._at_most = 2 * workers
        self._waiting: collections.deque[futures.Future[None]] = collections.deque()

    def add(self, path: pathlib.Path, samples: Stereo) -> None:
        """Hands over a file; waits where many are waiting, since a minute of sound takes 20 MB."""
        if len(self._waiting) == self._at_most:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(write_audio, path, samples))

    def close(self) -> None:
        """Waits for all files; raises what kept one from being written."""
        self._pool.shutdown()
        for each in self._waiting:
            each.result()


def _write(path: pathlib.Path, save: Callable[[IO[bytes]], object]) -> None:
    """Calls `save` with a file that takes its place only once it is complete."""
    with whole_file(path) as part, part.open("wb") as file:
        save(file)
