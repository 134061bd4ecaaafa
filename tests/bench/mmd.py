"""The U-statistic of the MMD for evaluation.

    python -m tests.bench.mmd --num 4096 --num 16384 --peer=dcor --peer=torch

`gflop_per_s` counts three times n^2 pairs, each of 3 FLOP a dimension for its distance and 3 a scale for the kernel,
whatever way a contender goes. Peers hold matrices of n x n distances, dcor in float64: gigabytes of them at 16,384
codes. `--num 65536` is for ours alone, and should show the same `peak_memory_mb`.
"""

from __future__ import annotations

import contextlib

from tests.bench import report
from tests.bench.contender import Process

_PEERS = {
    "dcor": "tests.bench.peers.estimators:energy_distance",
    "keras": "tests.bench.peers.keras_peer:mmd",
    "torch": "tests.bench.peers.torch_peer:mmd",
}
_SCALES = 7


def main() -> None:
    """Times the statistic at each number of codes."""
    parser = report.parser(__doc__, peers=tuple(_PEERS), steps=1, unused=("network", "batch-size", "h-dim", "dtype"))
    parser.add_argument("--num", type=int, action="append", help="codes; may be given several times (default: 4096)")
    parser.add_argument("--whole", action="store_true", help="ours as in training, with whole matrices")
    arguments = parser.parse_args()
    for num in arguments.num or [4096]:
        sizes = {"num": num, "z_dim": arguments.z_dim}
        gflop = 3e-9 * num**2 * (3 * arguments.z_dim + 3 * _SCALES)
        with contextlib.ExitStack() as stack:
            report.compare(
                "mmd_squared" if arguments.whole else "mmd_squared_tiled",
                stack.enter_context(Process("ours", "tests.bench.ours:mmd", {**sizes, "tiled": not arguments.whole})),
                {name: stack.enter_context(Process(name, _PEERS[name], sizes)) for name in arguments.peer},
                steps=arguments.steps,
                rounds=arguments.rounds,
                amount=arguments.steps * num,
                gflop=arguments.steps * gflop,
                ceiling=stack.enter_context(Process("matmul", "tests.bench.ours:matmul", {"dtype": "float32"})),
                dtype="float32",
                **sizes,
            )


if __name__ == "__main__":
    main()
