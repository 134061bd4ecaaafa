"""The original in its own framework beside runs of this package, on the same phrases.

    python -m tests.bench.original --data data/free_split --epochs 30 --keras
    python -m tests.bench.original --data data/free_split --workdir runs/mmd_alt runs/songs

`--keras` trains w00zie/wae_music's WAE-MMD (`alt`, h = 16, z = 16, batches of 64, cost weight .5, λ 100, Adam with
1e-3, dropout .2) with the layers and the step of `tests.bench.peers.keras_peer`; `--workdir` opens runs. Each is
measured three times: samples of N(0, I) by a threshold of one half, as the original does; the same by the fitted
binarization rule; and samples of a kernel density estimate of the training codes by a rule fitted to these. Rules are
fitted on samples that are not measured. `f1` is that of reconstructions of the held-out phrases at one half, `seconds`
those of the training. A line for each row, then a table.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from tests.bench import phrases, report
from tests.bench.judging import Reference
from wae_jax.config import BinarizationRule, Config
from wae_jax.data.dataset import Dataset, load_dataset, spread
from wae_jax.data.statistics import TrackStatistics, track_statistics
from wae_jax.generation.binarization import binarize
from wae_jax.generation.calibration import fit_rule
from wae_jax.generation.load import load
from wae_jax.metrics import music
from wae_jax.pianoroll import PITCHED_TRACKS, Codes, pack, unpack
from wae_jax.training.learned_prior import MAX_PHRASES, fit_kernel_density, sample_kernel_density

_CALIBRATION_SEED = 10**6  # no seed of a set is as late
_CALIBRATION_SAMPLES = 512
_HALF = BinarizationRule()
_AT_A_TIME = 64
COLUMNS = (
    *("f1", "precision", "recall", "coverage", "frechet_distance", "near_copies"),
    *("qualified_notes", "empty_bars", "cells", "seconds"),
)


class Trained(NamedTuple):
    """A trained autoencoder, whatever it was made with."""

    encode: Callable[[np.ndarray], np.ndarray]  # phrases, bool [B, T, P, K], to codes [B, Z]
    decode: Callable[[np.ndarray], np.ndarray]  # codes to probabilities [B, T, P, K]
    seconds: float  # of training


def train_keras(data: str, *, epochs: float, seed: int) -> Trained:
    """Trains the original."""
    import tensorflow as tf

    from tests.bench.peers import keras_peer

    num_steps = round(epochs * len(phrases.open_splits(data)[0]) / _AT_A_TIME)
    sizes: dict[str, Any] = {"network": "alt", "batch_size": _AT_A_TIME, "h_dim": 16, "z_dim": 16}
    run = keras_peer.Training(data=data, seed=seed, dropout_rate=0.2, **sizes)
    started = time.perf_counter()
    run.train(num_steps)
    seconds = time.perf_counter() - started

    def apply(network: Any) -> Callable[[np.ndarray], np.ndarray]:
        call = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
        return lambda x: _in_parts(lambda part: call(tf.constant(part, tf.float32)).numpy(), x)

    return Trained(apply(run.encoder), apply(run.decoder), seconds)


def open_run(workdir: str) -> Trained:
    """A finished run of this package; its seconds are those between its first and its last file."""
    model = load(workdir, checkpoint="latest")
    started, ended = (pathlib.Path(workdir, name).stat().st_mtime for name in ("config.json", "metrics.jsonl"))
    return Trained(model.encode, lambda codes: _in_parts(model.decode, codes), ended - started)


def _in_parts(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.concatenate([function(x[start : start + _AT_A_TIME]) for start in range(0, len(x), _AT_A_TIME)])


def measure(trained: Trained, data: Dataset, reference: Reference, *, num: int) -> dict[str, dict[str, float]]:
    """The metrics of the three kinds of samples, by name."""
    rows = np.asarray(data.split("train"))
    chosen = spread(len(rows), MAX_PHRASES)
    codes, songs = trained.encode(unpack(rows[chosen])), data.songs("train")
    density = fit_kernel_density(codes, songs=None if songs is None else songs[chosen])
    latent_dim = codes.shape[1]

    def of_prior(seed: int, count: int) -> Codes:
        return np.random.default_rng(seed).standard_normal((count, latent_dim)).astype(np.float32)

    def of_density(seed: int, count: int) -> Codes:
        return sample_kernel_density(density, jax.random.split(jax.random.key(seed), count))

    statistics, held_out = track_statistics(rows), unpack(reference.held_out)
    reconstruction = phrases.f1_of_reconstructions(
        lambda x: trained.decode(trained.encode(x)), reference.held_out, batch_size=_AT_A_TIME
    )
    found = {}
    for name, sample, fits in (("½", of_prior, False), ("rule", of_prior, True), ("density, rule", of_density, True)):
        rule = _fitted(trained.decode(sample(_CALIBRATION_SEED, _CALIBRATION_SAMPLES)), statistics) if fits else _HALF
        samples = binarize(trained.decode(sample(0, num)), rule)
        found[name] = {
            "f1": reconstruction,
            **reference.measure(pack(samples)),
            **_music(samples),
            "seconds": trained.seconds,
        }
    found["held-out"] = {**dict.fromkeys(COLUMNS, float("nan")), **_music(held_out)}
    return found


def _fitted(probabilities: np.ndarray, statistics: TrackStatistics) -> BinarizationRule:
    return fit_rule(probabilities, statistics, Config().binarization)


def _music(rolls: np.ndarray) -> Mapping[str, float]:
    tracks = list(PITCHED_TRACKS)
    values = music.qualified_note_rate(rolls)[:, tracks]
    return {
        # Of silent samples it is not defined.
        "qualified_notes": float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan"),
        "empty_bars": float(music.empty_bar_rate(rolls)[:, tracks].mean()),
        "cells": float(rolls.reshape(len(rolls), -1).sum(axis=1).mean()),
    }


def main() -> None:
    """Trains and opens what is asked for, and measures all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder made by build_dataset")
    parser.add_argument("--split", default="test", help="held-out phrases (default: test)")
    parser.add_argument("--num", type=int, default=512, help="samples to measure (default: 512)")
    parser.add_argument("--keras", action="store_true", help="train the original")
    parser.add_argument("--epochs", type=float, default=30, help="of the original (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the original (default: 0)")
    parser.add_argument("--workdir", nargs="*", default=[], help="finished runs")
    arguments = parser.parse_args()
    data = load_dataset(pathlib.Path(arguments.data))
    reference = Reference.of(data, arguments.split, arguments.num)
    makers: dict[str, Callable[[], Trained]] = {}
    if arguments.keras:
        makers["original"] = lambda: train_keras(arguments.data, epochs=arguments.epochs, seed=arguments.seed)
    makers |= {each: lambda each=each: open_run(each) for each in arguments.workdir}
    table: dict[str, list[dict[str, float]]] = {}
    for name, make in makers.items():
        for kind, scores in measure(make(), data, reference, num=arguments.num).items():
            row = kind if kind == "held-out" else f"{name}, {kind}"
            table[row] = [{column: report.rounded(scores[column]) for column in COLUMNS}]
            report.emit("original", row=row, **table[row][0])
    print(report.markdown_table("samples of", COLUMNS, table))


if __name__ == "__main__":
    main()
