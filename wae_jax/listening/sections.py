"""The sections of a listening page: phrases of a model, with names, and how they were chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import Dataset
from wae_jax.errors import DatasetError
from wae_jax.generation.latent_paths import slerp_path
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import LOWEST_PITCH, BinaryRolls, Codes, Rolls, unpack
from wae_jax.pianoroll.notes import find_notes

# [track, MIDI number, onset in steps, length in steps]
Note = list[int]
# A phrase as JSON: {"name": str, "notes": [Note, ...]}.
Phrase = dict[str, Any]
# Any number of rolls, whatever B is in the same call.
OtherRolls = Bool[np.ndarray, "others T=192 P=84 K=5"]

_NUM_REAL = 8
_NUM_RECONSTRUCTIONS = 8
_NUM_PATHS = 3
_PHRASES_PER_PATH = 8


@dataclasses.dataclass(frozen=True)
class Group:
    """Phrases shown together."""

    phrases: Sequence[Phrase]  # with names that are clear without the group's title, such as "Sample 3"
    title: str = ""  # printed above them; empty for none


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page."""

    id: str  # anchor for links; letters only
    title: str  # heading
    description: str  # what the phrases are and how they were chosen
    groups: Sequence[Group]  # the phrases


def note_lists(rolls: BinaryRolls) -> list[list[Note]]:
    """The notes of each phrase, ordered by onset, track and pitch."""
    found = find_notes(rolls)
    rows = np.stack([found.track, found.pitch + LOWEST_PITCH, found.onset, found.length], axis=1)
    order = np.lexsort((found.pitch, found.track, found.onset, found.phrase))
    ends = np.searchsorted(found.phrase[order], np.arange(1, len(rolls)))
    return [part.tolist() for part in np.split(rows[order], ends)] if len(rolls) else []


def name_phrases(rolls: BinaryRolls, names: Sequence[str]) -> list[Phrase]:
    """Phrases as JSON."""
    return [{"name": name, "notes": each} for name, each in zip(names, note_lists(rolls), strict=True)]


def sections_of_model(model: Model, *, num: int, seed: int, rule: BinarizationRule) -> Iterator[Section]:
    """Random samples, training music, reconstructions beside originals, and interpolations.

    An exported model may be far from its data: then there are samples alone, and their description says so.

    Args:
      model: a trained model.
      num: number of random samples.
      seed: seed of the samples and of the choice of all other phrases.
      rule: the binarization rule.
    """

    def decode(codes: Codes) -> Rolls:
        return model.binarize(model.decode(codes), rule, seed=seed)

    samples = decode(model.sample_codes(seed, num))
    try:
        data, missing = model.data(), ""
    except DatasetError as error:
        data, missing = None, f" There is no other music here: {error}."
    source = f" from {model.kernel_density}" if model.kernel_density else ""
    yield Section(
        "samples",
        "Random samples",
        f"Unselected: the first {num} of seed {seed}{source}.{missing}",
        [Group(name_phrases(samples, [f"Sample {i + 1}" for i in range(num)]))],
    )
    if data is None:
        return
    real, indices = _choose(data, "train", _NUM_REAL, seed)
    yield Section(
        "real",
        "Training music",
        f"{len(real)} phrases of the training data chosen at random (seed {seed}), for comparison.",
        [Group(name_phrases(real, [f"Training phrase {i}" for i in indices]))],
    )
    originals, indices = _choose(data, "valid", max(_NUM_RECONSTRUCTIONS, _NUM_PATHS + 1), seed)
    if not len(originals):
        return
    codes = model.encode(originals)
    yield _reconstructions(originals[:_NUM_RECONSTRUCTIONS], decode(codes[:_NUM_RECONSTRUCTIONS]), indices, seed)
    if len(codes) > 1:
        yield Section(
            "interpolations",
            "Interpolations",
            "From the reconstruction of one validation phrase to that of the next, along a great circle in latent "
            "space, in equal steps.",
            [
                _interpolate(codes[i : i + 2], indices[i : i + 2], number=i + 1, decode=decode)
                for i in range(min(_NUM_PATHS, len(codes) - 1))
            ],
        )


def _reconstructions(originals: BinaryRolls, copies: BinaryRolls, indices: Sequence[int], seed: int) -> Section:
    """Pairs of an original and its reconstruction."""
    pairs = [
        Group(
            name_phrases(np.stack([original, copy]), [f"Original {i}", f"Reconstruction {i}"]),
            title=f"Validation phrase {i}: F1 {f1:.2f}",
        )
        for original, copy, i, f1 in zip(originals, copies, indices, cell_f1(copies, originals), strict=False)
    ]
    return Section(
        "reconstructions",
        "Reconstructions beside originals",
        f"Validation phrases, which were not trained on, chosen at random (seed {seed}). F1 compares cells: 1 is a "
        "perfect copy.",
        pairs,
    )


def _interpolate(ends: Codes, indices: Sequence[int], *, number: int, decode: Callable[[Codes], Rolls]) -> Group:
    """Phrases on the path between two codes."""
    shares = np.linspace(0, 1, _PHRASES_PER_PATH)
    path = slerp_path(ends[0], ends[1], shares).astype(ends.dtype)
    names = [f"Interpolation {number} at {share:.0%}" for share in shares]
    return Group(name_phrases(decode(path), names), title=f"From phrase {indices[0]} to phrase {indices[1]}")


def sections_of_phrases(
    mode: str,
    rolls: BinaryRolls,
    names: Sequence[str] | None,
    *,
    originals: OtherRolls | None = None,
    original_names: Sequence[str] | None = None,
) -> list[Section]:
    """Sections for the output of `generate`.

    Args:
      mode: the mode of `generate`.
      rolls: the phrases made.
      names: their names; None numbers them.
      originals: the phrases they were made from, if any.
      original_names: their names; None numbers them.
    """
    names = names or [f"Phrase {i + 1}" for i in range(len(rolls))]
    group = Group(name_phrases(rolls, names))
    sections = [Section("phrases", "Phrases", f"All that generate made with --mode={mode}, unselected.", [group])]
    if originals is not None:
        names = original_names or [f"Original {i + 1}" for i in range(len(originals))]
        group = Group(name_phrases(originals, names))
        sections.append(Section("originals", "Originals", "The phrases that the ones above were made from.", [group]))
    return sections


def _choose(
    data: Dataset, split: str, num: int, seed: int
) -> tuple[Bool[np.ndarray, "chosen T=192 P=84 K=5"], list[int]]:
    """Up to `num` random phrases of a split, and their indices in it, in order."""
    rows = data.split(split)
    indices = np.sort(np.random.default_rng(seed).permutation(len(rows))[:num])
    return unpack(np.asarray(rows[indices])), indices.tolist()
