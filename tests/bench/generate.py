"""Making and coding phrases, outside of training.

    python -m tests.bench.generate --peer=torch --peer=keras

Cases: `decode` takes codes to probabilities and `encode` phrases to codes, both from the host's memory and back, with
peers; `write` is what `wae_jax.generate` does without sound and pictures: sample, decode, binarize, write MIDI and
arrays. A step is `--batch-size` phrases.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile

from tests.bench import arithmetic, report
from tests.bench.contender import Contender, Process

_MODULES = {"keras": "tests.bench.peers.keras_peer", "torch": "tests.bench.peers.torch_peer"}


def write(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """Samples of the prior to a folder of MIDI files."""
    from tests.bench import ours
    from wae_jax.config import BinarizationRule
    from wae_jax.pianoroll import NUM_TRACKS
    from wae_jax.render.phrase_files import write_phrases

    model = ours.make_model(network=network, batch_size=batch_size, h_dim=h_dim, z_dim=z_dim, dtype=dtype)

    def run(steps: int) -> None:
        for step in range(steps):
            probabilities = model.sample(batch_size, seed=step)
            # A threshold at which an untrained network's output has the density of music: silence is written faster.
            rolls = model.binarize(
                probabilities, BinarizationRule(thresholds=(_threshold(probabilities),) * NUM_TRACKS)
            )
            folder = tempfile.mkdtemp(prefix="wae_jax_bench_")
            try:
                write_phrases(folder, rolls, audio=None, pictures=False, log=lambda text: None)
            finally:
                shutil.rmtree(folder)

    def _threshold(probabilities: object) -> float:
        import numpy as np

        return float(np.quantile(np.asarray(probabilities)[0], 1 - ours.DENSITY))

    return Contender(run, ours.device_facts(), ours.device_memory)


def main() -> None:
    """Times the cases one after the other."""
    parser = report.parser(__doc__, peers=tuple(_MODULES), steps=10)
    parser.add_argument("--case", choices=("decode", "encode", "write"), action="append", default=[])
    arguments = parser.parse_args()
    sizes = report.sizes(arguments)
    net = {"network": arguments.network, "h_dim": arguments.h_dim, "z_dim": arguments.z_dim}
    decoder = arithmetic.decoder_gflop(**net)
    gflop = {"decode": decoder, "encode": arithmetic.forward_gflop(**net) - decoder, "write": decoder}
    for case in arguments.case or gflop:
        with contextlib.ExitStack() as stack:
            function = "tests.bench.generate:write" if case == "write" else f"tests.bench.ours:{case}"
            names = [] if case == "write" else arguments.peer
            phrases = arguments.steps * arguments.batch_size
            report.compare(
                case,
                stack.enter_context(Process("ours", function, sizes)),
                {name: stack.enter_context(Process(name, f"{_MODULES[name]}:{case}", sizes)) for name in names},
                steps=arguments.steps,
                rounds=arguments.rounds,
                amount=phrases,
                gflop=gflop[case] * phrases,
                ceiling=stack.enter_context(Process("matmul", "tests.bench.ours:matmul", {"dtype": arguments.dtype})),
                **sizes,
            )


if __name__ == "__main__":
    main()
