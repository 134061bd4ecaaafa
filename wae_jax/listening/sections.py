"""The sections of a listening page: phrases of a run, with names, and how they were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from wae_jax.config import BinarizationRule
from wae_jax.generation.binarization import binarize
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.model import Model
from wae_jax.listening.document import Group, Phrase, Section, note_lists
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import BinaryRolls, Codes, PackedPhrases, Rolls, unpack

# As many as there are, beside other rolls.
OtherRolls = Bool[np.ndarray, "others T=192 P=84 K=5"]

_REAL_PHRASES = 8
_PAIRS = 8
_WALKS = 3
_PHRASES_A_WALK = 8


def sections_of_run(run: Model, *, num: int, seed: int, rule: BinarizationRule) -> Iterator[Section]:
    """Random samples, music of the training data, reconstructions beside originals, and walks.

    Args:
      run: a trained run.
      num: random draws.
      seed: of the draws, and of the choice of all other phrases.
      rule: which cells sound.

    Raises:
      DatasetError: if the run's data are no longer there.
    """

    def decode(codes: Codes) -> Rolls:
        return binarize(run.sampler.decode(codes), rule, seed=seed)

    draws = decode(run.sampler.sample_codes(seed, num))
    source = f" from {run.mixture}" if run.mixture else ""
    yield Section(
        "samples",
        "Random samples",
        f"Unselected: seed {seed}, the first {num}{source}.",
        [Group(named(draws, [f"Draw {i + 1}" for i in range(num)]))],
    )
    data = run.data()
    real, places = _choose(data.split("train"), _REAL_PHRASES, seed)
    yield Section(
        "real",
        "Music of the training data",
        f"{len(real)} phrases chosen at random, seed {seed}. Real, for comparison.",
        [Group(named(real, [f"Training phrase {place}" for place in places]))],
    )
    originals, places = _choose(data.split("valid"), max(_PAIRS, _WALKS + 1), seed)
    if not len(originals):
        return
    codes = run.sampler.encode(originals)
    copies = decode(codes)
    pairs = [
        Group(
            named(np.stack([original, copy]), [f"Original {place}", f"Reconstruction {place}"]),
            title=f"Validation phrase {place}: F1 {f1:.2f}",
        )
        for original, copy, place, f1 in zip(
            originals[:_PAIRS], copies, places, cell_f1(copies, originals), strict=False
        )
    ]
    yield Section(
        "reconstructions",
        "Reconstructions beside originals",
        f"Phrases that no training saw, chosen at random, seed {seed}. F1 is over cells: 1 is a perfect copy.",
        pairs,
    )
    walks = []
    for i in range(min(_WALKS, len(codes) - 1)):
        shares = np.linspace(0, 1, _PHRASES_A_WALK)
        rolls = decode(np.stack([slerp(codes[i], codes[i + 1], float(share)) for share in shares]).astype(codes.dtype))
        names = [f"Walk {i + 1}, {share:.0%} of the way" for share in shares]
        walks.append(Group(named(rolls, names), title=f"From phrase {places[i]} to phrase {places[i + 1]}"))
    if walks:
        yield Section(
            "interpolations",
            "Walks through latent space",
            "From the reconstruction of one validation phrase to that of the next, in even turns.",
            walks,
        )


def sections_of_phrases(
    mode: str,
    rolls: BinaryRolls,
    names: Sequence[str] | None,
    *,
    originals: OtherRolls | None = None,
    original_names: Sequence[str] | None = None,
) -> list[Section]:
    """What `generate` makes, and what it was made from, if anything.

    Args:
      mode: of `generate`.
      rolls: the phrases.
      names: of these; None for numbers.
      originals: what they were made from.
      original_names: likewise.
    """
    names = names or [f"Phrase {i + 1}" for i in range(len(rolls))]
    group = Group(named(rolls, names))
    sections = [Section("phrases", f"Phrases of --mode={mode}", "All that were made, unselected.", [group])]
    if originals is not None:
        names = original_names or [f"Original {i + 1}" for i in range(len(originals))]
        group = Group(named(originals, names))
        sections.append(Section("originals", "Originals", "What the phrases above were made from.", [group]))
    return sections


def _choose(rows: PackedPhrases, num: int, seed: int) -> tuple[Bool[np.ndarray, "chosen T=192 P=84 K=5"], list[int]]:
    """Up to so many random phrases of a split, and their places in it."""
    places = np.sort(np.random.default_rng(seed).permutation(len(rows))[:num])
    return unpack(np.asarray(rows[places])), places.tolist()


def named(rolls: BinaryRolls, names: Sequence[str]) -> list[Phrase]:
    """Phrases as a page takes them."""
    return [{"name": name, "notes": each} for name, each in zip(names, note_lists(rolls), strict=True)]
