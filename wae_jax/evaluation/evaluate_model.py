"""The evaluation of a trained model, or of any phrases, against held-out music."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import wae_jax
from wae_jax.config import BinarizationRule
from wae_jax.data.build.formats import open_source
from wae_jax.data.build.sources import naming
from wae_jax.data.build.workers import default_workers
from wae_jax.data.dataset import Dataset
from wae_jax.errors import MissingDatasetError, RequestError
from wae_jax.evaluation import measure
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import packed_cell_scores
from wae_jax.pianoroll import Codes, PackedPhrases, pack, unpack

# Probabilities of this many phrases take 40 MB.
_PHRASES_AT_A_TIME = 128
# Codes sampled for comparison with held-out codes; they are not decoded.
_SAMPLES_OF_PRIORS = 4096


@dataclasses.dataclass(frozen=True)
class EvaluationSpec:
    """The phrases and metrics of an evaluation."""

    num: int  # largest number of phrases in a set
    seed: int  # for samples, the choice of phrases, and resampling
    split: str  # the split of the held-out phrases
    compat: str  # "musegan" adds the metrics as published code computes them; "" does not
    prior: str | None = None  # "normal" or "kernel_density", which codes are sampled from; None for the model's own


class Evaluation(NamedTuple):
    """The result of an evaluation."""

    content: dict[str, Any]  # content of evaluation.json
    sets: dict[str, PhraseSet]  # `training` is the whole split, which the rows of copies index


def evaluate_model(model: Model, data: Dataset, spec: EvaluationSpec, rule: BinarizationRule) -> Evaluation:
    """Measures samples and reconstructions of a model against the held-out phrases of `data`.

    Open parts of the binarization rule are fitted here. Where the training data of the model are missing, as those of
    an exported model may be, the content has no set `training` and no `copies`.

    Raises:
      RequestError: if there is no such split, or it has too few songs.
      DatasetError: if training data are damaged, or missing where the rule or the prior takes them.
    """
    held_out, training = choose_phrases(data, spec.split, spec), _training_data(model)
    _check_songs(held_out, spec.split)
    sampler = model if spec.prior is None else model.with_prior(spec.prior)
    fitted = sampler.calibrated(rule)
    codes = model.encode(unpack(held_out.packed))
    priors = {"normal": model.with_prior("normal"), sampler.prior: sampler}
    sets = {
        "generated": PhraseSet(_decode(model, sampler.sample_codes(spec.seed, spec.num), fitted, spec.seed)),
        "reconstructed": PhraseSet(_decode(model, codes, fitted, spec.seed), held_out.songs),
        "held_out": held_out,
    }
    evaluation = _measure(sets, training, data, spec)
    content = evaluation.content
    content["reconstruction"] = packed_cell_scores(held_out.packed, sets["reconstructed"].packed)
    content["quality_gap"] = measure.divide_quality_gap(content["music"])
    content["codes"] = measure.measure_codes(
        codes,
        {name: each.sample_codes(spec.seed, _SAMPLES_OF_PRIORS) for name, each in priors.items()},
        songs=held_out.songs,
        prior_variance=float(model.config.objective.prior_variance),
        seed=spec.seed,
        kernel_density=sampler.kernel_density,
    )
    # The requested rule defines the arm of a comparison; the fitted one differs from seed to seed.
    content["provenance"] |= {
        "prior": sampler.prior,
        "binarization": dataclasses.asdict(rule),
        "calibrated_binarization": dataclasses.asdict(fitted),
        "checkpoint_step": model.step,
        "checkpoint_digest": model.digest,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(model.variables["params"])),
        "training_data_digest": None if training is None else training.digest,
        "config": model.config.to_dict(),
    }
    return evaluation


def evaluate_phrases(path: pathlib.Path, data: Dataset, spec: EvaluationSpec) -> Evaluation:
    """Measures the first `spec.num` phrases of a file that `build_dataset` reads.

    Raises:
      RequestError: if the file has no phrase or cannot be read, or the data do not suit `spec`.
    """
    held_out = choose_phrases(data, spec.split, spec)
    _check_songs(held_out, spec.split)
    with naming(path):
        source = open_source(path)
        parts = [chunk.rows for chunk in source.chunks]
    if not sum(map(len, parts)):
        raise RequestError(f"{path} holds no phrase; expected at least one")
    sets = {
        "generated": PhraseSet(np.concatenate(parts)[: spec.num]),
        "held_out": held_out,
    }
    evaluation = _measure(sets, data, data, spec)
    evaluation.content["provenance"] |= {"phrases": str(path), "phrases_sha256": source.sha256}
    return evaluation


def choose_phrases(data: Dataset, split: str, spec: EvaluationSpec) -> PhraseSet:
    """Up to `spec.num` random phrases of a split, in their order there."""
    rows, songs = data.split(split), data.songs(split)
    chosen = np.sort(np.random.default_rng(spec.seed).permutation(len(rows))[: spec.num])
    return PhraseSet(np.asarray(rows[chosen]), None if songs is None else songs[chosen])


def _check_songs(held_out: PhraseSet, split: str) -> None:
    num = len(held_out.packed)
    if (num if held_out.songs is None else len(np.unique(held_out.songs))) < 2:
        raise RequestError(
            f"the {split} split has {num} phrases of one song; expected at least two songs, since the difference "
            "between music and music is measured between them"
        )


def _training_data(model: Model) -> Dataset | None:
    """The dataset that the model was trained on; None where it is missing."""
    try:
        return model.data()
    except MissingDatasetError:
        return None


def _measure(sets: dict[str, PhraseSet], training: Dataset | None, data: Dataset, spec: EvaluationSpec) -> Evaluation:
    """The sections that models and loose phrases have in common; without training data, those that need none."""
    every: dict[str, PhraseSet] = {}
    if training is not None:
        # A copy may be of any training phrase, not only of one that is measured.
        every = {"training": PhraseSet(training.split("train"))}
        sets = {**sets, "training": choose_phrases(training, "train", spec)}
    content = {
        "provenance": {
            **dataclasses.asdict(spec),
            "data": data.name,
            "data_digest": data.digest,
            "versions": {
                "wae_jax": wae_jax.__version__,
                "jax": jax.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
        "sets": {name: _describe(each) for name, each in sets.items()},
        "music": measure.measure_music(sets, seed=spec.seed),
        "music_compat": measure.measure_music(sets, seed=spec.seed, compat=spec.compat) if spec.compat else {},
        "note_lengths": measure.count_note_lengths(sets),
        "distribution": measure.compare_distributions(sets, seed=spec.seed),
    }
    if every:
        content["copies"] = measure.find_copies({**sets, **every}, num_threads=default_workers())
    return Evaluation(content, {**sets, **every})


def _describe(phrases: PhraseSet) -> Mapping[str, int | None]:
    songs = phrases.songs
    return {"phrases": len(phrases.packed), "songs": None if songs is None else len(np.unique(songs))}


def _decode(model: Model, codes: Codes, rule: BinarizationRule, seed: int) -> PackedPhrases:
    parts = []
    for start in range(0, len(codes), _PHRASES_AT_A_TIME):
        probabilities = model.decode(codes[start : start + _PHRASES_AT_A_TIME])
        parts.append(pack(model.binarize(probabilities, rule, seed=seed + start)))
    return np.concatenate(parts)
