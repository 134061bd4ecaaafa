"""Scale on paper: the bytes that a training step sends between chips, and the batch at which they no longer matter.

    python -m tests.bench.scale --chips 8 --chips 64 --chips 256
    python -m tests.bench.scale --network meter --tflop-per-s 989 --gb-per-s 450

Nothing is measured here: it is arithmetic on the network's table, a chip's arithmetic at a share of its peak, and the
speed of its links, all of which are flags. Each step sends, per chip,

- the gradients of all parameters, summed over chips: in a ring 2 (n - 1) / n times their bytes, in float32;
- the statistics of batch normalization, forward and backward: few bytes, but a message for each layer;
- for WAE-MMD the codes and the samples of the prior, from all chips to all, and the gradients of the codes back.

Messages cost `latency_us` for each doubling of the number of chips. Nothing overlaps with arithmetic, which is the
worst case. `smallest_batch_per_chip` is the power of two from which on all of that is at most 5 % of a step.

The defaults are a TPU v4 chip as its maker describes it: 275 bfloat16 TFLOP/s, of which the networks here may reach a
fifth, and 45 GB/s each way on a link, two of which make a ring.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math

from tests.bench import arithmetic
from wae_jax.models.networks import NETWORKS
from wae_jax.pianoroll import BYTES_PER_PHRASE

LARGEST_SHARE = 0.05
_BYTES = 4  # parameters, gradients and codes are float32 whatever the network computes in
_SCALES = 7  # of the kernel
_DISCRIMINATOR = (256, 256, 256)
_MOST_PHRASES_PER_CHIP = 2**16


def step_of_a_chip(arguments: argparse.Namespace, *, chips: int, batch: int) -> dict[str, float]:
    """Bytes, GFLOP and seconds of one step of one chip, with `batch` phrases on each of `chips`."""
    sizes = {"h_dim": arguments.h_dim, "z_dim": arguments.z_dim}
    parameters = arithmetic.num_parameters(arguments.network, **sizes)
    if arguments.penalty == "gan":
        widths = (arguments.z_dim, *_DISCRIMINATOR, 1)
        parameters += sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))
    row = NETWORKS[arguments.network]
    norms = len(row.encoder) + len(row.decoder) - 1 + row.normalize_start
    others = (chips - 1) / chips
    gradients = 2 * others * parameters * _BYTES
    # Codes and samples come from the others; the codes' gradients go back to them.
    codes = 3 * (chips - 1) * batch * arguments.z_dim * _BYTES if arguments.penalty == "mmd" else 0.0
    pairs = 3 * batch * batch * chips if arguments.penalty == "mmd" else 0
    # A pair: 3 FLOP a dimension, 3 a scale; forward, and twice that backward.
    gflop_of_pairs = 3e-9 * pairs * 3 * (arguments.z_dim + _SCALES)
    gflop = batch * arithmetic.training_gflop(arguments.network, **sizes)
    messages = 2 * norms + 1 + (3 if codes else 0)
    latency = messages * 1e-6 * arguments.latency_us * math.ceil(math.log2(chips)) if chips > 1 else 0.0
    return {
        "phrases_bytes": batch * BYTES_PER_PHRASE,
        "gradients_bytes": gradients,
        "codes_bytes": codes,
        "network_gflop": gflop,
        "pairs_gflop": gflop_of_pairs,
        "arithmetic_s": (gflop + gflop_of_pairs) / (1000 * arguments.tflop_per_s * arguments.utilisation),
        "communication_s": (gradients + codes) / (1e9 * arguments.gb_per_s) + latency,
    }


def share_of_communication(step: dict[str, float]) -> float:
    """Communication's share of the seconds of a step."""
    return step["communication_s"] / (step["communication_s"] + step["arithmetic_s"])


def smallest_batch(arguments: argparse.Namespace, *, chips: int) -> int | None:
    """The power of two of phrases a chip from which on communication takes its share at most, or None."""
    batch = 1
    while share_of_communication(step_of_a_chip(arguments, chips=chips, batch=batch)) > LARGEST_SHARE:
        batch *= 2
        if batch > _MOST_PHRASES_PER_CHIP:
            return None
    return batch


def main() -> None:
    """Prints a line for each number of chips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="alt", help="default: alt")
    parser.add_argument("--h-dim", type=int, default=16, help="default: 16")
    parser.add_argument("--z-dim", type=int, default=16, help="default: 16")
    parser.add_argument("--penalty", choices=("gan", "mmd"), default="mmd", help="default: mmd")
    parser.add_argument("--chips", type=int, action="append", help="may be given several times (default: 8, 64, 256)")
    parser.add_argument("--batch-size", type=int, default=64, help="phrases a chip for the figures (default: 64)")
    parser.add_argument("--tflop-per-s", type=float, default=275.0, help="peak of a chip (default: 275)")
    parser.add_argument("--utilisation", type=float, default=0.2, help="share of it that is reached (default: .2)")
    parser.add_argument("--gb-per-s", type=float, default=90.0, help="of a chip's ring, each way (default: 90)")
    parser.add_argument("--latency-us", type=float, default=2.0, help="of a message, each doubling (default: 2)")
    arguments = parser.parse_args()
    for chips in arguments.chips or [8, 64, 256]:
        step = step_of_a_chip(arguments, chips=chips, batch=arguments.batch_size)
        line: dict[str, float | None] = {name: float(f"{value:.4g}") for name, value in step.items()}
        line |= {
            "share_of_communication": round(share_of_communication(step), 4),
            "smallest_batch_per_chip": smallest_batch(arguments, chips=chips),
        }
        print(json.dumps({"case": "scale", **vars(arguments), "chips": chips, **line}))


if __name__ == "__main__":
    main()
