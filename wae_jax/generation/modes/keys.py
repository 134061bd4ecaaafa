"""Keys of the music that `generate` writes with a model whose training data were in C major and A minor.

The user's music is moved there before a mode sees it, as `build_dataset` would move it, and what the mode makes is
moved back, or to the key that was requested. Pitched tracks alone are moved; notes that would leave the 84 pitches are
moved by an octave.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.data.build.key_estimation import relative_major
from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.request import Phrases, Request
from wae_jax.generation.modes.table import Mode
from wae_jax.pianoroll import transpose

RANDOM = "random"
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}
# Keys are drawn independently of codes, whose seed is the same.
_KEY_DOMAIN = 0x6B6579


def key_shift(key: str) -> int:
    """Semitones up, from -6 to 5, from C major or A minor to a key such as "D", "F#" or "Bbm".

    Raises:
      ValueError: if it is no key.
    """
    match = re.fullmatch(r"([A-G])([#b]?)(m?)", key)
    if match is None:
        raise ValueError(f"{key!r} is no key; expected one such as C, F#, Bb, Am or Bbm")
    letter, accidental, minor = match.groups()
    return int(_nearest(relative_major(_LETTERS[letter] + _ACCIDENTALS[accidental], bool(minor))))


def make_in_key(mode: Mode, model: Model, request: Request) -> Phrases:
    """The phrases of a mode in the requested key, or else in the key of the user's music.

    A model of music in many keys gets the user's music as it is.

    Raises:
      RequestError: if a key was requested of such a model; and as the mode.
      DatasetError: as the mode.
    """
    if not model.config.data.is_in_one_tonality:
        if request.key is not None:
            raise RequestError(
                f"--key is {request.key}, and the model was trained on music in many keys, so that nobody knows by how "
                "much to move what it makes; expected a model of music in C major and A minor, or no --key"
            )
        return mode.make(model, request)
    moved = [dataclasses.replace(each, roll=_transposed(each.roll, each.semitones)) for each in request.inputs]
    phrases = mode.make(model, dataclasses.replace(request, inputs=tuple(moved)))
    if phrases.rolls is None:
        rows = [each.transposition and each.transposition._asdict() for each in request.inputs]
        report = {**phrases.report, "transposed": {"inputs": rows}} if rows else phrases.report
        return dataclasses.replace(phrases, report=report, table="\n".join(_describe_inputs(request.inputs)))
    shifts, of_inputs = find_shifts(request, len(phrases.rolls), is_path=mode.is_path)
    rolls, originals = transpose(phrases.rolls, shifts), phrases.originals
    of_originals = shifts % 12
    if moved:
        # From the phrases as they were read: notes that an octave was added to on their way would not come back.
        own = transpose(request.input_rolls(), of_inputs)
        is_input = (phrases.rolls == moved[0].roll).all(axis=(1, 2))
        rolls = np.where(is_input[:, None, None], own[0], rolls)
        originals = None if originals is None else own
        of_originals = (of_inputs - [each.semitones for each in request.inputs]) % 12
    elif originals is not None:
        originals = transpose(originals, shifts)
    lines = [phrases.table, *_describe(request.inputs, shifts)]
    inputs = [
        {"original": each.name, **(each.transposition._asdict() if each.transposition else {}), "written_semitones": up}
        for each, up in zip(request.inputs, of_inputs.tolist(), strict=True)
    ]
    return dataclasses.replace(
        phrases,
        rolls=rolls,
        originals=originals,
        tonics=(shifts % 12).tolist(),
        original_tonics=None if originals is None else of_originals.tolist(),
        probabilities=None if phrases.probabilities is None else transpose(phrases.probabilities, shifts),
        report={**phrases.report, "transposed": {"inputs": inputs, "phrases": shifts.tolist()}},
        table="\n".join(filter(None, lines)),
    )


def own_key(model: Model, request: Request) -> str | None:
    """The key, as `key_shift` reads it, that most of the user's phrases were moved from; None where they were not."""
    moved = [each.transposition.key for each in request.inputs if each.transposition and each.semitones]
    if not model.config.data.is_in_one_tonality or 2 * len(moved) < len(request.inputs):
        return None
    tonic, mode = collections.Counter(moved).most_common(1)[0][0].split()
    return tonic + "m" * (mode == "minor")


def find_shifts(
    request: Request, num: int, *, is_path: bool
) -> tuple[Int64[np.ndarray, " {num}"], Int64[np.ndarray, " inputs"]]:
    """Semitones up by which phrases are moved out of C major and A minor, and the user's phrases from their own keys.

    The user's music moves to a key that was requested by the fewest semitones, and what is made of it with it. Without
    one it stays where it is, and what is made of two phrases has the key of the first. Of random keys there is one for
    each phrase, but a single one for phrases on a path or made of the user's.

    Args:
      request: its inputs are in their own keys.
      num: number of phrases.
      is_path: whether the phrases belong together.
    """
    into = np.array([each.semitones for each in request.inputs], np.int64)
    if request.key is None:
        return np.full(num, -into[0] if len(into) else 0), np.zeros_like(into)
    if request.key == RANDOM:
        drawn = np.random.default_rng([request.seed, _KEY_DOMAIN]).integers(-6, 6, num)
        target = np.full(num, drawn[0]) if is_path else drawn
    else:
        target = np.full(num, key_shift(request.key))
    of_inputs = _nearest(target[0] + into)
    return (np.full(num, of_inputs[0] - into[0]) if len(into) else target), of_inputs


def _nearest(semitones: Any) -> Any:
    """The distances from -6 to 5 that lead to the same pitch classes."""
    return (semitones + 6) % 12 - 6


def _transposed(roll: Bool[np.ndarray, "T P K"], semitones: int) -> Bool[np.ndarray, "T P K"]:
    return transpose(roll[None], np.array([semitones]))[0]


def _describe_inputs(inputs: Sequence[InputPhrase]) -> Iterator[str]:
    """Lines about how the user's music was moved, one for consecutive phrases in the same key."""
    found = [list(group) for _, group in itertools.groupby(inputs, lambda each: (each.path, each.transposition))]
    for first, *_, last in ([*group, group[-1]] for group in found):
        if first.transposition:
            key, by, semitones, _ = first.transposition
            source = "by its key signature" if by == "signature" else "as estimated"
            yield f"{first.name_to(last)}: in {key} {source}, moved by {semitones:+d} semitones to be encoded"


def _describe(inputs: Sequence[InputPhrase], shifts: Int64[np.ndarray, " B"]) -> Iterator[str]:
    """Lines about the transposition of inputs and results; none if nothing was transposed."""
    for each in inputs:
        yield from _describe_inputs([each])
    low, high = int(shifts.min()), int(shifts.max())
    if low or high:
        by_how_much = f"{low:+d} semitones" if low == high else f"{low:+d} to {high:+d} semitones, see report.json,"
        yield f"phrases are moved by {by_how_much} from C major and A minor"
