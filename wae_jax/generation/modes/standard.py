"""The modes sample, decode, encode, reconstruct and interpolate."""

from __future__ import annotations

import dataclasses

import numpy as np

from wae_jax.errors import RequestError, naming_alternative
from wae_jax.generation.latent_paths import slerp, slerp_path
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import find_input_codes
from wae_jax.generation.modes.request import Phrases, Request, measure_smoothness, silent_bars, text_table
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import NUM_BARS, Codes, unpack

# Phrases from one end of a path to the next.
_INTERPOLATION_STEPS = 8


def sample(model: Model, request: Request) -> Phrases:
    """Decodes samples of the prior, unselected."""
    return _decode_each(model, request, model.sample_codes(request.seed, request.num))


def decode(model: Model, request: Request) -> Phrases:
    """Decodes the codes of the request.

    Raises:
      RequestError: if they are not of the model's dimension, or so large that the decoder's numbers are not finite.
    """
    codes, expected = request.codes, model.config.model.z_dim
    assert codes is not None
    if codes.shape[1] != expected:
        raise RequestError(
            f"the codes of --codes have {codes.shape[1]} dimensions, and those of the model {expected}; expected codes "
            "of this model, or another --workdir"
        )
    phrases = _decode_each(model, request, codes)
    assert phrases.probabilities is not None
    if not (is_finite := np.isfinite(phrases.probabilities).all(axis=(1, 2, 3))).all():
        raise RequestError(
            f"row {int(is_finite.argmin())} of --codes (counted from 0) is too large to decode; expected codes near "
            "those of --mode=encode"
        )
    return phrases


def _decode_each(model: Model, request: Request, codes: Codes) -> Phrases:
    probabilities, rolls = request.decode(model, codes)
    silent, bars = int(silent_bars(rolls).sum()), NUM_BARS * len(rolls)
    report = {"silent_bars": silent, "bars": bars}
    return Phrases(codes, rolls, probabilities, report=report, table=f"{silent} of {bars} bars are silent")


def encode(model: Model, request: Request) -> Phrases:
    """Encodes the user's phrases, or random ones of the validation split."""
    if request.inputs:
        rows = [
            {
                "phrase": each.name,
                "start_bar": each.start_bar,
                "tempo": each.tempo,
                "notes_left_out": each.notes_left_out,
            }
            for each in request.inputs
        ]
        return Phrases(model.encode(request.input_rolls()), report={"phrases": rows})
    return _encode_held_out(model, request, instead="--input with music of your own")


def _encode_held_out(model: Model, request: Request, *, instead: str) -> Phrases:
    """Encodes random phrases of the validation split."""
    with naming_alternative(instead):
        num_rows = len(model.phrases("valid"))
    num = min(request.num, num_rows) if request.may_be_fewer else request.num
    if num > num_rows:
        raise RequestError(f"--num is {num}; expected at most {num_rows}, the phrases of the validation split")
    return _encode_rows(model, num, request.seed)


def _encode_rows(model: Model, num: int, seed: int) -> Phrases:
    packed = model.phrases("valid")
    rows = np.sort(np.random.default_rng(seed).permutation(len(packed))[:num])
    originals = unpack(np.asarray(packed[rows]))
    return Phrases(model.encode(originals), rows=rows, originals=originals)


def reconstruct(model: Model, request: Request) -> Phrases:
    """Encodes and decodes random phrases of the validation split."""
    own = "--mode=encode with music of your own, and --mode=decode with its codes"
    encoded = _encode_held_out(model, request, instead=own)
    assert encoded.originals is not None
    probabilities, rolls = request.decode(model, encoded.codes)
    f1 = cell_f1(rolls, encoded.originals)
    low, middle, high = np.quantile(f1, (0.25, 0.5, 0.75)).tolist()
    return dataclasses.replace(
        encoded,
        rolls=rolls,
        probabilities=probabilities,
        report={"f1": f1.tolist(), "f1_quartiles": [low, middle, high]},
        table=f"F1 with the original, a phrase: median {middle:.3f}, half of them {low:.3f} to {high:.3f}",
    )


def interpolate(model: Model, request: Request) -> Phrases:
    """Decodes codes along great circles: from the user's first phrase to the second, or through validation phrases.

    Between random phrases of the validation split there are eight steps from one to the next.
    """
    if request.inputs:
        return _interpolate_inputs(model, request)
    with naming_alternative("--from and --to with music of your own"):
        num_rows = len(model.phrases("valid"))
    if num_rows < 2:
        raise RequestError(
            f"the validation split of {model.data().name} has {num_rows} phrase, and a path has two ends; expected "
            "--from and --to with music of your own, or a model whose data have more"
        )
    most = (num_rows - 1) * _INTERPOLATION_STEPS
    num = min(request.num, most) if request.may_be_fewer else request.num
    if num > most:
        raise RequestError(
            f"--num is {num}; expected at most {most}, {_INTERPOLATION_STEPS} from each of the {num_rows} phrases of "
            "the validation split to the next"
        )
    ends = _encode_rows(model, -(-num // _INTERPOLATION_STEPS) + 1, request.seed).codes
    steps = np.arange(num) / _INTERPOLATION_STEPS
    codes = np.stack([slerp(ends[int(step)], ends[int(step) + 1], step % 1.0) for step in steps])
    return _decode_path(model, request, codes)


def _interpolate_inputs(model: Model, request: Request) -> Phrases:
    if request.num < 2:
        raise RequestError(f"--num is {request.num}; expected at least 2 from one file to another")
    originals = request.input_rolls()
    ends, rows = find_input_codes(model, request)
    shares = np.linspace(0, 1, request.num)
    path = _decode_path(model, request, slerp_path(ends[0], ends[1], shares).astype(np.float32))
    assert path.rolls is not None
    names = [f"{share:.0%} of the way" for share in shares]
    similarity = [
        {"phrase": name, "F1 with the first": float(one), "F1 with the second": float(other)}
        for name, one, other in zip(names, *(cell_f1(path.rolls, each[None]) for each in originals), strict=True)
    ]
    return dataclasses.replace(
        path,
        names=names,
        originals=originals,
        original_names=[each.name for each in request.inputs],
        report={"inputs": rows, **path.report, "path": similarity},
        table="\n".join([text_table(rows), path.table, text_table(similarity)]),
    )


def _decode_path(model: Model, request: Request, codes: Codes) -> Phrases:
    """The phrases along a path, and how much each differs from the one before."""
    probabilities, rolls = request.decode(model, codes)
    report, table = measure_smoothness(model, request, rolls)
    return Phrases(codes, rolls, probabilities, report=report, table=table)
