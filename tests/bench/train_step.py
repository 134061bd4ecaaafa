"""The bare training step: WAE-MMD, data on the device, nothing logged.

    python -m tests.bench.train_step --peer=keras --peer=torch
    python -m tests.bench.train_step --dtype=bfloat16 --batch-size 512 2048 --peer=torch

`torch` is compiled, `torch-eager` is not; both with channels last, and in bfloat16 under autocast. `keras` is the
original model's layers and step under tf.function. Peers have the same network, batch, precision and Adam, and get
their data as floats on the device; ours unpacks its bits within the step.

`gflop_per_s` counts 2 FLOP a multiplication of the layers' products: forward, and twice that backward, without the
gradient of the data. `share_of_ceiling` compares it with a plain matrix product. `share_of_bandwidth` compares the
bytes that a step has to move at the least (`arithmetic.training_gigabytes`) with a plain copy, and `share_of_roofline`
is the larger share: a step with 1 would be as fast as the device's arithmetic or its memory allows.
"""

from __future__ import annotations

import contextlib
import sys

from tests.bench import arithmetic, report
from tests.bench.contender import ContenderError, Process

PEERS = {
    "keras": ("tests.bench.peers.keras_peer:train_step", {}),
    "torch": ("tests.bench.peers.torch_peer:train_step", {"compiled": True}),
    "torch-eager": ("tests.bench.peers.torch_peer:train_step", {"compiled": False}),
}


def main() -> None:
    """Times the step at each batch size."""
    parser = report.parser(__doc__, peers=tuple(PEERS), steps=10, unused=("batch-size",))
    parser.add_argument(
        "--batch-size", type=int, nargs="+", default=[64], help="phrases a step, one size or several (default: 64)"
    )
    parser.add_argument(
        "--peer-batch-size", type=int, nargs="*", help="sizes at which peers are timed too (default: all)"
    )
    parser.add_argument("--devices", type=int, default=0, help="host devices on a CPU; the batch is divided over them")
    arguments = parser.parse_args()
    dimensions = {"h_dim": arguments.h_dim, "z_dim": arguments.z_dim}
    gflop = arithmetic.training_gflop(arguments.network, **dimensions)
    bytes_each = 2 if arguments.dtype == "bfloat16" else 4
    gigabytes = arithmetic.training_gigabytes(arguments.network, **dimensions, bytes_each=bytes_each)
    failures = 0
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(
            Process("ours", "tests.bench.ours:train_step", environment=report.host_devices(arguments.devices))
        )
        peers = {name: stack.enter_context(Process(name, PEERS[name][0])) for name in arguments.peer}
        ceiling = stack.enter_context(Process("matmul", "tests.bench.ours:matmul"))
        copy = stack.enter_context(Process("copy", "tests.bench.ours:copy"))
        # After all have begun to import their libraries.
        ceiling.begin({"dtype": arguments.dtype})
        copy.begin({})
        # The least first: the peak of jax's memory is that of the process so far.
        for batch_size in sorted(arguments.batch_size):
            sizes = {**report.sizes(arguments), "batch_size": batch_size}
            ours.begin(sizes)
            timed = peers if batch_size in (arguments.peer_batch_size or arguments.batch_size) else {}
            for name, peer in list(timed.items()):
                try:
                    peer.begin({**sizes, **PEERS[name][1]})
                except ContenderError as error:  # more than the memory, say
                    report.emit("train_step", **sizes, peer={"name": name}, error=str(error))
                    failures += 1
                    del peers[name]
            phrases = arguments.steps * batch_size
            report.compare(
                "train_step",
                ours,
                timed,
                steps=arguments.steps,
                rounds=arguments.rounds,
                amount=phrases,
                gflop=gflop * phrases,
                ceiling=ceiling,
                gigabytes=gigabytes * phrases,
                copy=copy,
                gflop_per_phrase=round(gflop, 4),
                **sizes,
            )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
