"""Changes that a decoder makes from one code to another, made in a phrase that it does not reproduce exactly.

The phrase decoded from the code of a user's phrase lacks some of its notes and has others. What the user's phrase has
and the decoded one has not, its detail, is added to what is decoded from other codes. The idea is that of editing real
images with a generator: `x + G(z') - G(z)` in place of `G(z')`, as in "Neural Photo Editing" (arXiv 1609.07093), here
with the notes that the binarization rule makes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from wae_jax.config import BinarizationRule
from wae_jax.generation.binarization import binarize, keep_long_notes, keep_notes_with
from wae_jax.metrics.music import DRUMS
from wae_jax.pianoroll import NUM_STEPS, NUM_TRACKS, PITCHED_TRACKS, Probabilities, Rolls

# For each phrase, bar and track.
Weights = Float[np.ndarray, "B bars=4 K=5"]
# The smallest number above one half.
_ABOVE = np.nextafter(np.float32(0.5), np.float32(1))


def keep_detail(
    phrase: Bool[np.ndarray, "1 T P K"],
    at_phrase: Float[np.ndarray, "1 T P K"],
    probabilities: Probabilities,
    weights: Weights,
    rule: BinarizationRule,
    *,
    seed: int = 0,
) -> Rolls:
    """Phrases from the probabilities of their cells, with the detail of a phrase.

    With x the phrase, 0 or 1 a cell, p its decoded probabilities and p' those of another code, s moved so that the rule
    makes a cell active where s(p) is above one half, and w the weight of the detail, a cell is active where
    s(p') + w (x - s(p)) is above one half. With weights of 1 and p' = p this is x, and with weights of 0 what the rule
    makes of p', exactly and for every rule. Otherwise notes of pitched tracks that are shorter than the rule's shortest
    are dropped, except those that x or what the rule makes of p' has with the same start and end.

    Args:
      phrase: the user's phrase.
      at_phrase: probabilities of the phrase decoded from its code.
      probabilities: of phrases decoded from other codes, `[B, T, P, K]`.
      weights: from 0 to 1.
      rule: with all its parts fitted.
      seed: for "bernoulli", which draws the same random numbers for p and p'.

    Raises:
      ValueError: if a part of the rule is still to be fitted.
    """
    before, after = np.broadcast_to(at_phrase, probabilities.shape), probabilities
    plain = binarize(after, rule, seed=seed)
    moved_before = around_one_half(before, binarize(before, rule, seed=seed), rule)
    moved_after = around_one_half(after, plain, rule)
    by_step = np.repeat(weights, NUM_STEPS // weights.shape[1], axis=1)[:, :, None].astype(np.float32)
    rolls = moved_after + by_step * (phrase - moved_before) > np.float32(0.5)
    return _drop_fragments(rolls, phrase, plain, rule.min_note_length)


def around_one_half(
    probabilities: Probabilities, rolls: Rolls, rule: BinarizationRule
) -> Float32[np.ndarray, "B T P K"]:
    """The probabilities, moved so that exactly the active cells of the rolls, which the rule made of them, exceed 1/2.

    A threshold goes to one half, and what is below and above it is stretched linearly. Cells that the rule silenced by
    a gate or as short notes are at most one half. Cells sampled at random are 0 or 1.
    """
    if rule.method != "hard":
        return rolls.astype(np.float32)
    thresholds = np.clip(np.asarray(rule.thresholds, np.float32), 1e-6, 1 - 1e-6)
    stretched = np.where(
        probabilities > thresholds,
        1 - (1 - probabilities) / (2 * (1 - thresholds)),
        probabilities / (2 * thresholds),
    ).astype(np.float32)
    return np.where(rolls, np.maximum(stretched, _ABOVE), np.minimum(stretched, np.float32(0.5)))


def detail_weights(by_bar: Float[np.ndarray, "B bars"]) -> Weights:
    """Weights that are the same for all pitched tracks, between 0 and 1; those of drums are 1.

    Drums have no key to leave: their own detail fits whatever the other tracks play.
    """
    weights = np.repeat(np.clip(by_bar, 0, 1)[..., None], NUM_TRACKS, axis=2)
    weights[..., DRUMS] = 1
    return weights


def _drop_fragments(rolls: Rolls, phrase: Bool[np.ndarray, "1 T P K"], plain: Rolls, min_length: int) -> Rolls:
    """The rolls without short notes of pitched tracks that are in neither the phrase nor the plain rolls."""
    kept = rolls.copy()
    if min_length == 1:
        return kept
    for k in PITCHED_TRACKS:
        # Most pitches have no active cell, and need no work.
        index, pitches = np.nonzero(rolls[..., k].any(axis=1))
        lines = rolls[index, :, pitches, k]
        whole = keep_long_notes(lines, min_length)
        for notes in (np.broadcast_to(phrase, rolls.shape), plain):
            whole |= _notes_in_both(lines, notes[index, :, pitches, k])
        kept[index, :, pitches, k] = whole
    return kept


def _notes_in_both(lines: Bool[np.ndarray, "N T"], others: Bool[np.ndarray, "N T"]) -> Bool[np.ndarray, "N T"]:
    """The notes of the lines that the others have too, with the same start and end."""
    differs = lines ^ others
    # A difference inside a note, or in the step before or after it, makes it another note.
    near = differs.copy()
    near[:, 1:] |= differs[:, :-1]
    near[:, :-1] |= differs[:, 1:]
    return lines & ~keep_notes_with(lines, near)
