"""Transposition of piano-rolls in NumPy, without losing notes; `device.transpose_pitched` is for augmentation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, Shaped

from wae_jax.pianoroll.layout import NUM_PITCHES, TRACKS

_DRUMS = [k for k, track in enumerate(TRACKS) if track.is_drum]


def transpose(
    rolls: Shaped[np.ndarray, "B T=192 P=84 K=5"], semitones: Integer[np.ndarray, " B"]
) -> Shaped[np.ndarray, "B T=192 P=84 K=5"]:
    """Phrases whose non-drum tracks are moved by a number of semitones, one a phrase.

    Notes that would leave the 84 pitches are moved by as few octaves as bring them back. Where such a cell meets
    another one, the larger of both stays.

    Args:
      rolls: bool, 0 and 1, or probabilities.
      semitones: positive is up.
    """
    moved = rolls.copy()
    for up in np.unique(semitones[semitones != 0]).tolist():
        chosen = semitones == up
        part = rolls[chosen]
        result = np.zeros_like(part)
        stays = np.arange(max(-up, 0), NUM_PITCHES - max(up, 0))
        result[:, :, stays + up] = part[:, :, stays]
        for pitch in np.setdiff1d(np.arange(NUM_PITCHES), stays).tolist():
            # Octaves of the range are whole, so that the nearest one has the pitch class at its bottom or top.
            to = (pitch + up) % 12 + (0 if up < 0 else NUM_PITCHES - 12)
            np.maximum(result[:, :, to], part[:, :, pitch], out=result[:, :, to])
        result[..., _DRUMS] = part[..., _DRUMS]
        moved[chosen] = result
    return moved
