"""What `import wae_jax` offers beside `load` and `Model`: music to phrases, and phrases to files, sound and pictures.

The commands do the same with more options; `to_midi` and the others are short names for functions of `wae_jax.render`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from wae_jax.data.build.formats import open_source
from wae_jax.data.build.sources import DEFAULT_DRUM_LENGTH, DEFAULT_TONALITY, DRUM_LENGTHS, TONALITIES, Options, naming
from wae_jax.errors import RequestError
from wae_jax.pianoroll import DEFAULT_TEMPO, PROGRAMS, BinaryPiece, BinaryPieces, Rolls, unpack

if TYPE_CHECKING:
    import pypianoroll
    from matplotlib.figure import Figure


def read_phrases(
    path: str | os.PathLike[str], *, tonality: str = DEFAULT_TONALITY, drum_length: str = DEFAULT_DRUM_LENGTH
) -> Rolls:
    """The phrases of a file, as `build_dataset` cuts them: `[B, T, P, K]`, False and True.

    Phrases of a song are four bars of 4/4 with music in them, one after another. Notes outside MIDI numbers 24 to 107
    are left out.

    Args:
      path: a MIDI file, a Multitrack of pypianoroll, or phrases as npz or npy.
      tonality: "signature" and "estimate" transpose songs to C major or A minor, as the data of a model that
        `build_dataset` made by default; "keep" does not.
      drum_length: "onset" gives all drums one step, as those data have; "full" keeps the lengths of the file.

    Raises:
      RequestError: if the file cannot be read, or has no phrase.

    Examples:
      >>> import numpy as np, tempfile, wae_jax
      >>> music = np.zeros((2, 192, 84, 5), bool)
      >>> music[0, :48, 36, 1] = music[1, 96:, 43, 3] = True  # C4 on the piano for a bar, then G4 on the bass for two
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     wae_jax.to_midi(music, f"{folder}/two.mid")
      ...     again = wae_jax.read_phrases(f"{folder}/two.mid", tonality="keep")
      >>> bool((again == music).all())
      True
    """
    if tonality not in TONALITIES:
        raise RequestError(f"tonality is {tonality!r}; expected one of {', '.join(TONALITIES)}")
    if drum_length not in DRUM_LENGTHS:
        raise RequestError(f"drum_length is {drum_length!r}; expected one of {', '.join(DRUM_LENGTHS)}")
    options = Options(threshold=0.5, tonality=tonality, drum_length=drum_length)
    with naming(path):
        # Arrays are of one tonality or not as a whole: by default they stay as they are.
        source = open_source(pathlib.Path(path), options=options)
        return unpack(np.concatenate([chunk.rows for chunk in source.chunks]))


def to_midi(
    rolls: BinaryPiece | BinaryPieces,
    path: str | os.PathLike[str],
    *,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
) -> None:
    """Writes a phrase, or several in a row, as a MIDI file; see `wae_jax.render.midi.write_midi`.

    Examples:
      >>> import tempfile, wae_jax
      >>> model = wae_jax.load()
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     wae_jax.to_midi(model.binarize(model.sample(1)), f"{folder}/one.mid", tempo=120)
    """
    from wae_jax.render.midi import write_midi

    write_midi(path, rolls, tempo=tempo, programs=programs)


def to_multitrack(
    rolls: BinaryPiece | BinaryPieces, *, tempo: float = DEFAULT_TEMPO, programs: Sequence[int] = PROGRAMS
) -> pypianoroll.Multitrack:
    """A phrase, or several in a row, as a Multitrack of pypianoroll, 12 time steps a quarter note.

    Examples:
      >>> import wae_jax
      >>> model = wae_jax.load()
      >>> [track.name for track in wae_jax.to_multitrack(model.binarize(model.sample(2))).tracks]
      ['Drums', 'Piano', 'Guitar', 'Bass', 'Strings']
    """
    from wae_jax.render import multitrack

    return multitrack.to_multitrack(rolls.reshape(-1, *rolls.shape[-2:]), tempo=tempo, programs=programs)


def to_audio(
    rolls: BinaryPiece | BinaryPieces, *, tempo: float = DEFAULT_TEMPO, programs: Sequence[int] = PROGRAMS
) -> Float[np.ndarray, "samples channels=2"]:
    """A phrase, or several in a row, played: left and right channel, 44,100 samples a second, at most .9.

    In a notebook, `IPython.display.Audio(sound.T, rate=44100)` plays it.

    Raises:
      ImportError, SoundFontError, OSError: if a part that makes sound is missing.

    Examples:
      >>> import wae_jax
      >>> model = wae_jax.load()
      >>> wae_jax.to_audio(model.binarize(model.sample(1))).shape[1]
      2
    """
    from wae_jax.render.audio import render

    return render(rolls, tempo=tempo, programs=programs)


def plot(rolls: BinaryPiece | BinaryPieces, *, titles: Sequence[str] | None = None) -> Figure:
    """A picture of a phrase, its tracks below each other, or of several, a panel each.

    Args:
      rolls: one phrase `[T, P, K]`, or several.
      titles: one a phrase; by default they are numbered.

    Raises:
      ValueError: if the rolls have another shape or are not binary, or there are not as many titles.

    Examples:
      >>> import wae_jax
      >>> model = wae_jax.load()
      >>> len(wae_jax.plot(model.binarize(model.sample(4))).axes)
      4
    """
    from wae_jax.render.phrase_plots import plot_grid, plot_phrase

    several = rolls[None] if rolls.ndim == 3 else rolls
    titles = [f"phrase {i + 1}" for i in range(len(several))] if titles is None else titles
    if len(titles) != len(several):
        raise ValueError(f"there are {len(titles)} titles for {len(several)} phrases; expected one a phrase")
    return plot_phrase(several[0], title=titles[0]) if len(several) == 1 else plot_grid(several, titles=titles)
