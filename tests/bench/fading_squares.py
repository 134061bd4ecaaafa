"""Latent dimension against intrinsic dimension on fading squares: the synthetic experiment of arXiv 1802.03761.

    python -m tests.bench.fading_squares --figure fading_squares.png

Rubenstein, Schoelkopf and Tolstikhin, "On the Latent Space of Wasserstein Auto-Encoders", train on images of a square
whose brightness alone varies, so that the intrinsic dimension n is known to be 1. With more latent dimensions than
that, the codes of a deterministic encoder are a curve in the latent space, which cannot match the prior, and the
decoder is asked for codes that it has never seen; a random encoder can fill the dimensions that it does not need with
noise. Their section 4 adds a penalty, the mean of sum_d |log sigma_d^2|, against variances that vanish nevertheless.

Here every encoder is trained with each number of latent dimensions, on one square (n = 1, in the middle of the image)
and on four of independent brightness (n = 4, one in each quarter), with the package's objective. It is smaller than
theirs, whose published configuration (paruby/Wasserstein-Auto-Encoders) has 32 x 32 pixels, layers of 1,200 units,
batches of 100, 40,000 steps, a cross-entropy and a uniform prior and encoder; here it is the squared error and N(0, I).
Their weight of MMD^2 is 20; as the cost is a sum over pixels, of which there are a quarter here, it is 5. Their images
were not found: the width of a square, and the weight of the log-variance penalty, are choices of this bench.

Columns, of images and samples that nothing was trained on; errors are mean squares over pixels, times 10,000 (images
vary by 208 around their mean):

    reconstruction   of images from the means of their codes
    off_manifold     of decoded samples of the prior, to the nearest image of fading squares
    brightness       Wasserstein-1 of the brightness of samples to the uniform distribution, mean over squares
    mmd              U-statistic of codes and prior
    dim_codes        intrinsic dimension of the codes, noise included (TwoNN)
    dim_means        intrinsic dimension of the means of the codes
    noise_dims       latent dimensions whose variance, given the image, is more than half of the prior's

A line follows for each run, then a table of means over seeds with Student's t intervals.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from tests.bench import report
from wae_jax.array_types import AnyArray
from wae_jax.config import DiscriminatorSpec, ObjectiveSpec
from wae_jax.evaluation.latent_metrics import intrinsic_dimension, mmd_permutation_test
from wae_jax.metrics import distances, intervals
from wae_jax.models.encoder_decoder import Encoded, sample_codes
from wae_jax.objective.divergences import log_variance_penalty
from wae_jax.objective.prior import sample_prior
from wae_jax.objective.reconstruction import squared_error
from wae_jax.training.latent_penalties import GlobalBatch, LatentPenalty, make_penalty
from wae_jax.training.step import Terms, reduce_terms

COLUMNS = ("reconstruction", "off_manifold", "brightness", "mmd", "dim_codes", "dim_means", "noise_dims")
INTRINSIC = (1, 4)
ENCODERS = ("deterministic", "gaussian", "gaussian, penalized")
OBJECTIVE = ObjectiveSpec(penalty="mmd", penalty_weight=5.0)


class Sizes(NamedTuple):
    """Of images, networks, data and training."""

    image: int = 16  # pixels a side
    width: int = 32  # units of a hidden layer
    images: int = 4096  # to train on
    held_out: int = 1000  # images, and samples
    batch: int = 64
    steps: int = 1000
    rate: float = 3e-3  # of Adam at the start; it falls to 0 along a cosine


class Lane(NamedTuple):
    """A run among those that share a program, since compiling one takes longer than several runs.

    Attributes:
      data: index of its images.
      z_dim: latent dimensions; the code has more coordinates, which are 0.
      is_random: whether its codes are sampled; the means otherwise.
      log_variance_weight: of the log-variance penalty.
      key: of weights, batches and noise.
    """

    data: jax.Array
    z_dim: jax.Array
    is_random: jax.Array
    log_variance_weight: jax.Array
    key: jax.Array


class Found(NamedTuple):
    """What a trained model makes of held-out images, and of samples of the prior."""

    encoded: Encoded
    z_prior: jax.Array
    x_hat: jax.Array  # from the means
    samples: jax.Array  # from z_prior


def square_masks(n: int, size: int) -> np.ndarray:
    """The n squares of an image as `[n, size, size]` of 0 and 1, each half as wide as its part of the image."""
    a_side = round(n**0.5)
    if a_side**2 != n or size % (4 * a_side):
        raise ValueError(f"{n} squares in {size} x {size} pixels; expected n = k^2, and a size that 4 k divides")
    part = size // a_side
    one = np.zeros((part, part), np.float32)
    one[part // 4 : part // 4 + part // 2, part // 4 : part // 4 + part // 2] = 1
    masks = np.zeros((n, size, size), np.float32)
    for i in range(n):
        row, column = part * (i // a_side), part * (i % a_side)
        masks[i, row : row + part, column : column + part] = one
    return masks


def draw(brightness: np.ndarray, size: int) -> np.ndarray:
    """Images `[N, size, size, 1]` whose squares have this brightness, `[N, n]`; the background is 0."""
    masks = square_masks(brightness.shape[1], size)
    return np.einsum("bn,nij->bij", brightness.astype(np.float32), masks)[..., None]


def nearest_brightness(images: np.ndarray, n: int) -> np.ndarray:
    """The brightness, `[N, n]`, of the nearest image of n fading squares.

    The squared distance is a sum over squares, each least at the mean of its pixels, or at the end of [0, 1] nearest to
    it.
    """
    masks = square_masks(n, images.shape[1])
    means = np.einsum("bij,nij->bn", images[..., 0], masks) / masks.sum(axis=(1, 2))
    return np.clip(means, 0, 1)


class Encoder(nn.Module):
    """Images `[B, S, S, 1]` to means and log variances of codes, `[B, Z]`."""

    width: int
    z_dim: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means and log variances."""
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.z_dim)(x), nn.Dense(self.z_dim)(x)


class Decoder(nn.Module):
    """Codes `[B, Z]` to images `[B, S, S, 1]` with pixels in (0, 1)."""

    width: int
    size: int

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Images."""
        for _ in range(2):
            z = nn.relu(nn.Dense(self.width)(z))
        return nn.sigmoid(nn.Dense(self.size**2)(z)).reshape(len(z), self.size, self.size, 1)


class Trainer(NamedTuple):
    """A network with its penalty, of the largest number of latent dimensions.

    A code of d dimensions has zeros in the others and is sqrt(max_z_dim / d) as long. So the kernels of MMD, whose
    scales are shares of the number of dimensions, have the values that they have in d dimensions, and the decoder's
    first weights the effect that they have there.
    """

    encoder: Encoder
    decoder: Decoder
    penalty: LatentPenalty
    max_z_dim: int
    sizes: Sizes

    def encode(self, params: Any, x: jax.Array, key: jax.Array, lane: Lane) -> tuple[Encoded, jax.Array]:
        """Codes of images, and as many samples of the prior."""
        noise, prior = (jax.random.split(each, len(x)) for each in jax.random.split(key))
        is_used = jnp.arange(self.max_z_dim) < lane.z_dim
        applied: Any = self.encoder.apply(params["encoder"], x)
        mean, log_variance = (is_used * each for each in applied)
        z = jnp.where(lane.is_random, is_used * sample_codes(mean, log_variance, noise).z, mean)
        z_prior = sample_prior(prior, latent_dim=self.max_z_dim, prior_variance=OBJECTIVE.prior_variance)
        return Encoded(z, mean, log_variance), is_used * z_prior

    def stretch(self, z: AnyArray, lane: Lane) -> jax.Array:
        """Codes at the length that the largest number of dimensions would give them."""
        return jnp.asarray(z) * jnp.sqrt(self.max_z_dim / lane.z_dim)

    def decode(self, params: Any, z: AnyArray, lane: Lane) -> Any:
        """Images of codes."""
        return self.decoder.apply(params["decoder"], self.stretch(z, lane))

    def loss(self, params: Any, x: jax.Array, key: jax.Array, step: jax.Array, lane: Lane) -> jax.Array:
        """The objective of WAE-MMD, by the functions of the package's training step."""
        encoded, z_prior = self.encode(params, x, key, lane)
        cost = squared_error(x, self.decode(params, encoded.z, lane))
        z, z_prior = self.stretch(encoded.z, lane), self.stretch(z_prior, lane)
        assert encoded.log_variance is not None
        terms = Terms(
            cost=cost,
            reconstruction=cost,
            penalty=self.penalty.penalty({}, encoded._replace(z=z), z_prior, GlobalBatch(jnp.asarray, 0, key)),
            log_variance_penalty=log_variance_penalty(encoded.log_variance),
            moment_gap=None,
        )
        loss, metrics = reduce_terms(terms, OBJECTIVE, step=step)
        # An argument and not a field of the objective, so that runs of several weights share a program.
        return loss + lane.log_variance_weight * metrics["log_variance_penalty"]

    def run(self, data: jax.Array, held_out: jax.Array, lane: Lane) -> Found:
        """Trains on `data[lane.data]` and looks at `held_out[lane.data]`, both `[set, N, S, S, 1]`."""
        sizes, optimizer = self.sizes, optax.adam(optax.cosine_decay_schedule(self.sizes.rate, self.sizes.steps))
        start, training, looking = jax.random.split(lane.key, 3)
        z = jnp.zeros((1, self.max_z_dim))
        params = {"encoder": self.encoder.init(start, data[0, :1]), "decoder": self.decoder.init(start, z)}

        def update(state: tuple[Any, Any], step: jax.Array) -> tuple[tuple[Any, Any], None]:
            params, opt_state = state
            choosing, key = jax.random.split(jax.random.fold_in(training, step))
            x = data[lane.data, jax.random.randint(choosing, (sizes.batch,), 0, data.shape[1])]
            gradient = jax.grad(self.loss)(params, x, key, step, lane)
            changes, opt_state = optimizer.update(gradient, opt_state)
            return (optax.apply_updates(params, changes), opt_state), None

        (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), jnp.arange(sizes.steps))
        encoded, z_prior = self.encode(params, held_out[lane.data], looking, lane)
        x_hat, samples = (self.decode(params, z, lane) for z in (encoded.mean, z_prior))
        return Found(encoded, z_prior, x_hat, samples)


def make_trainer(max_z_dim: int, sizes: Sizes) -> Trainer:
    """Returns the network of up to so many latent dimensions, with the penalty WAE-MMD."""
    penalty = make_penalty(OBJECTIVE, DiscriminatorSpec(), latent_dim=max_z_dim, dtype=jnp.float32)
    return Trainer(Encoder(sizes.width, max_z_dim), Decoder(sizes.width, sizes.image), penalty, max_z_dim, sizes)


def make_lanes(z_dim: int, seeds: int, log_variance_weight: float) -> tuple[list[tuple[str, int]], Lane]:
    """Encoder and intrinsic dimension of each run with so many latent dimensions, and the runs as arrays."""
    every = [(encoder, i, seed) for encoder in ENCODERS for i in range(len(INTRINSIC)) for seed in range(seeds)]
    lanes = Lane(
        data=jnp.array([i for _, i, _ in every]),
        z_dim=jnp.full(len(every), z_dim),
        is_random=jnp.array([encoder != ENCODERS[0] for encoder, _, _ in every]),
        log_variance_weight=jnp.array([log_variance_weight * (encoder == ENCODERS[2]) for encoder, _, _ in every]),
        key=jnp.stack([jax.random.key(seed) for _, _, seed in every]),
    )
    return [(encoder, INTRINSIC[i]) for encoder, i, _ in every], lanes


def measure(found: Found, held_out: np.ndarray, *, n: int, z_dim: int, is_random: bool) -> dict[str, float]:
    """The columns of one run on images of n squares; `found` in NumPy."""
    z, mean, log_variance, z_prior = jax.tree.map(lambda codes: codes[:, :z_dim], (*found.encoded, found.z_prior))
    mmd = mmd_permutation_test(z, z_prior, prior_variance=OBJECTIVE.prior_variance, num_permutations=1, seed=0)
    samples = np.asarray(found.samples)
    brightness, uniform = (nearest_brightness(each, n).astype(np.float64) for each in (samples, held_out))
    nearest = draw(brightness, held_out.shape[1])
    variance = is_random * np.exp(log_variance)
    values = {
        "reconstruction": 1e4 * np.mean(np.square(held_out - found.x_hat)),
        "off_manifold": 1e4 * np.mean(np.square(samples - nearest)),
        "brightness": np.mean([distances.wasserstein_1(brightness[:, i], uniform[:, i]) for i in range(n)]),
        "mmd": mmd.statistic,
        "dim_codes": intrinsic_dimension(z),
        "dim_means": intrinsic_dimension(mean),
        "noise_dims": np.sum(variance.mean(axis=0) > 0.5),
    }
    return {name: report.rounded(float(value)) for name, value in values.items()}


def make_data(number: int, size: int, seed: int) -> np.ndarray:
    """So many images of each intrinsic dimension, `[set, N, size, size, 1]`."""
    rng = np.random.default_rng(seed)
    return np.stack([draw(rng.uniform(size=(number, n)), size) for n in INTRINSIC])


Rows = dict[tuple[int, str, int], list[dict[str, float]]]


def sweep(z_dims: Sequence[int], seeds: int, log_variance_weight: float, sizes: Sizes) -> Rows:
    """The columns of all runs, by intrinsic dimension, encoder and latent dimension, one a seed."""
    data, held_out = make_data(sizes.images, sizes.image, 0), make_data(sizes.held_out, sizes.image, 1)
    rows: Rows = {}
    run: Callable[..., Found] = jax.jit(jax.vmap(make_trainer(max(z_dims), sizes).run, in_axes=(None, None, 0)))
    for z_dim in z_dims:
        names, lanes = make_lanes(z_dim, seeds, log_variance_weight)
        every = jax.tree.map(np.asarray, run(jnp.asarray(data), jnp.asarray(held_out), lanes))
        for lane, (encoder, n) in enumerate(names):
            found = jax.tree.map(lambda leaf, lane=lane: leaf[lane], every)
            is_random = encoder != ENCODERS[0]
            values = measure(found, held_out[INTRINSIC.index(n)], n=n, z_dim=z_dim, is_random=is_random)
            report.emit("fading_squares", n=n, encoder=encoder, z_dim=z_dim, **values)
            rows.setdefault((n, encoder, z_dim), []).append(values)
    return rows


def write_figure(rows: Rows, path: pathlib.Path) -> None:
    """Draws the errors of reconstructions and samples against the latent dimension, one line an encoder."""
    from matplotlib.patches import Patch

    from wae_jax.render import style

    colors = dict(zip(ENCODERS, style.TRACK_COLORS[1:], strict=False))
    z_dims = sorted({z_dim for _, _, z_dim in rows})
    figure = style.new_figure(9, 3.2 * len(INTRINSIC))
    panels = figure.subplots(len(INTRINSIC), 2, sharex=True, squeeze=False)
    titles = {"reconstruction": "Reconstructions", "off_manifold": "Samples, to the nearest image"}
    for n, line in zip(INTRINSIC, panels, strict=True):
        for axes, (column, title) in zip(line, titles.items(), strict=True):
            style.style_axes(axes, f"{title}, n = {n}")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(z_dims, [str(z_dim) for z_dim in z_dims])
            axes.axvline(n, color=style.FAINT, linestyle=":", linewidth=1)
            style.set_labels(axes, "latent dimensions" if n == INTRINSIC[-1] else None, "mean square, 1e-4")
            for i, (encoder, color) in enumerate(colors.items()):
                values = np.array([[run[column] for run in rows[n, encoder, z_dim]] for z_dim in z_dims]).T
                ends = intervals.paired_difference(values)
                # An interval may reach below 0, which a logarithmic axis cannot show.
                low = np.maximum(np.nan_to_num(ends.low, nan=np.inf), 0.2 * ends.mean)
                reach = np.array([ends.mean - np.minimum(low, ends.mean), np.nan_to_num(ends.high - ends.mean)])
                shifted = np.array(z_dims) * 1.03 ** (i - 1)
                axes.errorbar(shifted, ends.mean, reach, color=color, marker="o", markersize=3, capsize=2)
    style.add_legend_below(figure, [Patch(color=color, label=encoder) for encoder, color in colors.items()])
    style.save_figure(figure, path)


def main(flags: Sequence[str] | None = None) -> None:
    """Trains all of them and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--z-dims", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32], help="(default: 1 2 4 … 32)")
    parser.add_argument("--seeds", type=int, default=3, help="of weights, batches and noise (default: 3)")
    parser.add_argument("--log-variance-weight", type=float, default=0.02, help="of the third encoder (default: .02)")
    for name, default in Sizes._field_defaults.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"(default: {default})")
    parser.add_argument("--figure", type=pathlib.Path, help="PNG to draw the errors to")
    arguments = parser.parse_args(flags)
    sizes = Sizes(*(getattr(arguments, name) for name in Sizes._fields))
    rows = sweep(arguments.z_dims, arguments.seeds, arguments.log_variance_weight, sizes)
    table = {f"n = {n}, {encoder}, z = {z_dim}": rows[n, encoder, z_dim] for n, encoder, z_dim in sorted(rows)}
    print(report.markdown_table("", COLUMNS, table))
    if arguments.figure:
        write_figure(rows, arguments.figure)


if __name__ == "__main__":
    main()
