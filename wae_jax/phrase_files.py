"""A folder of phrases in every form that people and programs open: arrays, MIDI, pictures, sound."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from wae_jax import audio, midi, plots
from wae_jax.pianoroll import DEFAULT_TEMPO, NUM_BARS, NUM_PITCHES, NUM_TRACKS, STEPS_PER_BAR, check_rolls

_IN_GRID = 16


def write_phrases(
    directory: str | os.PathLike[str],
    rolls: np.ndarray,
    *,
    probabilities: np.ndarray | None = None,
    tempo: float = DEFAULT_TEMPO,
    sound: bool = True,
    pictures: bool = True,
    log: Callable[[str], None] = print,
) -> None:
    """Writes phrases flat into a folder, each file complete or not at all.

    `phrases.npz` in the layout of MuseGAN's data (`nonzero`, `shape`); `phrase_0000.mid` and so on, and `all.mid` with
    all of them in a row; `phrase_0000.png`, and `grid.png` with the first sixteen; `phrase_0000.ogg`.

    Args:
      directory: made where there is none.
      rolls: bool [B, T, P, K], at least one phrase.
      probabilities: [B, T, P, K], written to `probabilities.npy` as float16 where given.
      tempo: quarter notes a minute.
      sound: whether to write sound. Where a part for that is missing, `log` is told what to install and the rest is
        written.
      pictures: whether to draw.
      log: takes a sentence.

    Raises:
      ValueError: if the rolls have another shape, are none, or do not go with the probabilities.
      OSError: if a file cannot be written.
    """
    check_rolls(rolls)
    if not len(rolls):
        raise ValueError("there is no phrase to write")
    if probabilities is not None and probabilities.shape != rolls.shape:
        raise ValueError(f"probabilities have shape {probabilities.shape}, but the rolls {rolls.shape}")
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)

    bars = rolls.reshape(len(rolls), NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    nonzero = np.array(np.nonzero(bars), np.int64)
    _write(directory / "phrases.npz", lambda file: np.savez_compressed(file, nonzero=nonzero, shape=bars.shape))
    if probabilities is not None:
        half = probabilities.astype(np.float16)
        _write(directory / "probabilities.npy", lambda file: np.save(file, half))
    midi.write_midi(directory / "all.mid", rolls, tempo=tempo, name=f"{len(rolls)} phrases in a row")
    missing = audio.missing_parts() if sound else None
    if missing:
        log(missing)
    for i, roll in enumerate(rolls):
        name = f"phrase_{i:04d}"
        midi.write_midi(directory / f"{name}.mid", roll, tempo=tempo, name=name)
        if pictures:
            plots.save_figure(plots.plot_phrase(roll, title=name), directory / f"{name}.png")
        if sound and not missing:
            audio.write_audio(directory / f"{name}.ogg", audio.render(roll, tempo=tempo))
    if pictures:
        plots.save_figure(plots.plot_grid(rolls[:_IN_GRID]), directory / "grid.png")


def _write(path: pathlib.Path, write: Callable[[Any], None]) -> None:
    """Lets `write` fill a file beside `path`, which then takes its place."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        write(file)
    part.replace(path)
