"""The bare training step: WAE-MMD, data on the device, nothing logged.

    python -m tests.bench.train_step --peer=keras --peer=torch
    python -m tests.bench.train_step --dtype=bfloat16 --batch-size 2048 --peer=torch

`torch` is compiled, `torch-eager` is not; both with channels last, and in bfloat16 under autocast. `keras` is the
original model's layers and step under tf.function. Peers have the same network, batch, precision and Adam, and get
their data as floats on the device; ours unpacks its bits within the step.

`gflop_per_s` counts 2 FLOP a multiplication of the layers' products: forward, and twice that backward, without the
gradient of the data.
"""

from __future__ import annotations

import contextlib

from tests.bench import arithmetic, report
from tests.bench.contender import Process

PEERS = {
    "keras": ("tests.bench.peers.keras_peer:train_step", {}),
    "torch": ("tests.bench.peers.torch_peer:train_step", {"compiled": True}),
    "torch-eager": ("tests.bench.peers.torch_peer:train_step", {"compiled": False}),
}


def main() -> None:
    """Times the step."""
    parser = report.parser(__doc__, peers=tuple(PEERS), steps=10)
    parser.add_argument("--devices", type=int, default=0, help="host devices on a CPU; the batch is divided over them")
    arguments = parser.parse_args()
    sizes = report.sizes(arguments)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(
            Process("ours", "tests.bench.ours:train_step", sizes, report.host_devices(arguments.devices))
        )
        peers = {
            name: stack.enter_context(Process(name, PEERS[name][0], {**sizes, **PEERS[name][1]}))
            for name in arguments.peer
        }
        ceiling = stack.enter_context(Process("matmul", "tests.bench.ours:matmul", {"dtype": arguments.dtype}))
        phrases = arguments.steps * arguments.batch_size
        gflop = arithmetic.training_gflop(arguments.network, h_dim=arguments.h_dim, z_dim=arguments.z_dim)
        report.compare(
            "train_step",
            ours,
            peers,
            steps=arguments.steps,
            rounds=arguments.rounds,
            amount=phrases,
            gflop=gflop * phrases,
            ceiling=ceiling,
            gflop_per_phrase=round(gflop, 4),
            **sizes,
        )


if __name__ == "__main__":
    main()
