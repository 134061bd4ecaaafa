"""Learned priors beside each other: the same decoder, with codes sampled from several distributions.

    python launch/sweep.py --configs configs/wae_gan.py --seeds 0 1 2 --output sweeps/methods --no-evaluate
    python -m tests.bench.priors --workdir sweeps/methods/wae_gan/seed_* --split test

Every distribution is fitted to the codes of training phrases of the run in `--workdir`: `kernel_density` as a run fits
it, `mixture_10` and `mixture_32` of Gaussians with a covariance each (arXiv 1903.12436 takes ten), and `flow`, affine
couplings (arXiv 1605.08803) fitted until the codes of a tenth of the songs, kept aside, become less likely. `normal` is
the prior of training. Each has a binarization rule of its own, fitted on 512 of its samples. `--rounds` times `--num`
others are measured against the held-out phrases of `--split`, as `wae_jax.evaluate` measures them, and averaged.
`log_density` is the mean over held-out codes, in nats. A line follows for each run and distribution, then a table of
means over runs with Student's t intervals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.mixture import GaussianMixture

from tests.bench import report
from tests.bench.judging import Reference
from wae_jax.data.dataset import spread
from wae_jax.generation.calibration import fit_rule
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.pianoroll import Codes, pack, unpack
from wae_jax.training.learned_prior import MAX_PHRASES, log_density, normal

COLUMNS = ("precision", "recall", "coverage", "frechet_distance", "near_copies", "log_density")
_CALIBRATION_SAMPLES = 512
_CALIBRATION_SEED = 10**6  # no round is as late
# Of the flow: a tenth of the songs is kept aside, and looked at so often.
_ASIDE, _STEPS, _LOOK_EVERY, _PATIENCE = 0.1, 4000, 50, 6
_COUPLINGS, _WIDTH, _BATCH, _RATE = 8, 128, 256, 1e-3


class Fitted(NamedTuple):
    """A distribution of codes: a function of a seed and a number to codes, and one of codes to log densities."""

    sample: Callable[[int, int], Codes]
    log_density: Callable[[Codes], Any]


def fit_all(model: Model, codes: Codes, songs: np.ndarray) -> dict[str, Callable[[], Fitted]]:
    """Functions that fit each distribution to the codes of training phrases, of the songs with these numbers."""

    def of_model(name: str) -> Fitted:
        sampler = model.with_prior(name)
        density = sampler.kernel_density
        if density is None:
            density = normal(codes.shape[1], model.config.objective.prior_variance)
        return Fitted(sampler.sample_codes, lambda points: log_density(density, points))

    return {
        "normal": lambda: of_model("normal"),
        "kernel_density": lambda: of_model("kernel_density"),
        "mixture_10": lambda: fit_mixture(codes, 10),
        "mixture_32": lambda: fit_mixture(codes, 32),
        "flow": lambda: fit_flow(codes, songs),
    }


def fit_mixture(codes: Codes, components: int) -> Fitted:
    """A mixture of Gaussians with a covariance each, raised by a thousandth of the codes' variance."""
    mixture = GaussianMixture(components, reg_covar=1e-3 * float(codes.var()), random_state=0).fit(codes)

    def sample(seed: int, num: int) -> Codes:
        mixture.random_state = seed
        # They come component by component.
        return np.random.default_rng(seed).permutation(mixture.sample(num)[0]).astype(np.float32)

    return Fitted(sample, mixture.score_samples)


def fit_flow(codes: Codes, songs: np.ndarray) -> Fitted:
    """A flow of affine couplings on standardized codes, the best of its steps on the songs kept aside."""
    mean, deviation = codes.mean(axis=0), codes.std(axis=0) + 1e-6
    points = jnp.asarray((codes - mean) / deviation)
    unique = np.random.default_rng(0).permutation(np.unique(songs))
    is_aside = np.isin(songs, unique[: max(round(_ASIDE * len(unique)), 1)])
    kept, aside = points[~is_aside], points[is_aside]
    flow = flowjax.flows.coupling_flow(
        jax.random.key(0),
        base_dist=flowjax.distributions.Normal(jnp.zeros(points.shape[1])),
        flow_layers=_COUPLINGS,
        nn_width=_WIDTH,
    )
    trained, constant = equinox.partition(flow, equinox.is_inexact_array)

    def cost(trained: Any, points: jax.Array) -> jax.Array:
        return -equinox.combine(trained, constant).log_prob(points).mean()

    cost_of, optimizer = jax.jit(cost), optax.adam(_RATE)

    @jax.jit
    def update(trained: Any, state: Any, key: jax.Array) -> tuple[Any, Any]:
        batch = kept[jax.random.randint(key, (_BATCH,), 0, len(kept))]
        changes, state = optimizer.update(jax.grad(cost)(trained, batch), state)
        return optax.apply_updates(trained, changes), state

    state = optimizer.init(trained)
    best, best_cost, waited = trained, np.inf, 0
    for step in range(_STEPS):
        trained, state = update(trained, state, jax.random.key(step))
        if step % _LOOK_EVERY:
            continue
        now = float(cost_of(trained, aside))
        best, best_cost, waited = (trained, now, 0) if now < best_cost else (best, best_cost, waited + 1)
        if waited == _PATIENCE:
            break
    fitted = equinox.combine(best, constant)

    def sample(seed: int, num: int) -> Codes:
        drawn = np.asarray(fitted.sample(jax.random.key(seed), (num,)))
        return (drawn * deviation + mean).astype(np.float32)

    def log_density_of(points: Codes) -> np.ndarray:
        return np.asarray(fitted.log_prob((points - mean) / deviation)) - np.log(deviation).sum()

    return Fitted(sample, log_density_of)


def measure_run(workdir: str, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The metrics of every distribution, by its name."""
    model = load(workdir, checkpoint=arguments.checkpoint)
    data = model.data()
    rows, songs = np.asarray(data.split("train")), data.songs("train")
    if songs is None:
        raise SystemExit(f"error: the dataset {data.name} has no index of songs; expected one made by build_dataset")
    reference = Reference.of(data, arguments.split, arguments.num)
    chosen = spread(len(rows), MAX_PHRASES)
    codes, held_out_codes = model.encode(unpack(rows[chosen])), model.encode(unpack(reference.held_out))
    found = {}
    for name, fit in fit_all(model, codes, songs[chosen]).items():
        if name not in arguments.priors:
            continue
        started = time.perf_counter()
        fitted = fit()
        fit_s = time.perf_counter() - started
        of_calibration = model.decode(fitted.sample(_CALIBRATION_SEED, _CALIBRATION_SAMPLES))
        rule = fit_rule(of_calibration, model.statistics(), model.config.binarization)
        rounds = []
        for seed in range(arguments.rounds):
            samples = model.binarize(model.decode(fitted.sample(seed, arguments.num)), rule)
            rounds.append(reference.measure(pack(samples)))
        scores = {column: float(np.mean([each[column] for each in rounds])) for column in COLUMNS[:-1]}
        scores["log_density"] = float(np.mean(fitted.log_density(held_out_codes)))
        found[name] = {column: report.rounded(scores[column]) for column in COLUMNS}
        report.emit("priors", workdir=workdir, prior=name, **found[name], fit_s=round(fit_s, 1))
    return found


def main() -> None:
    """Measures every distribution for every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", nargs="+", required=True, help="of runs, one a seed")
    parser.add_argument("--split", default="test", help="held-out phrases (default: test)")
    parser.add_argument("--checkpoint", default="latest", help="as in wae_jax.evaluate (default: latest)")
    parser.add_argument("--num", type=int, default=512, help="samples to measure (default: 512)")
    parser.add_argument("--rounds", type=int, default=2, help="sets of samples (default: 2)")
    names = ("normal", "kernel_density", "mixture_10", "mixture_32", "flow")
    parser.add_argument("--priors", nargs="+", choices=names, default=names, help="(default: all)")
    arguments = parser.parse_args()
    runs = [measure_run(workdir, arguments) for workdir in arguments.workdir]
    print(report.markdown_table("samples of", COLUMNS, {name: [run[name] for run in runs] for name in runs[0]}))


if __name__ == "__main__":
    main()
