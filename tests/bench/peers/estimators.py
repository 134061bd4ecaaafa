"""Exact estimators of a distance between two samples, from other packages.

dcor's energy distance is the same U-statistic with the kernel -||a - b||, computed from whole matrices of distances in
float64. alibi-detect's estimator of the MMD is such a matrix computation too, in PyTorch and with a single Gaussian;
`torch_peer.mmd` is that with our kernel, without alibi-detect's many dependencies.
"""

from __future__ import annotations

import importlib.metadata

import dcor
import numpy as np

from tests.bench.contender import Contender


def energy_distance(*, num: int, z_dim: int) -> Contender:
    """dcor's U-statistic between two samples."""
    random = np.random.default_rng(0)
    z, z_prior = 1.1 * random.standard_normal((num, z_dim)), random.standard_normal((num, z_dim))

    def run(steps: int) -> None:
        for _ in range(steps):
            dcor.energy_distance(z, z_prior, estimation_stat=dcor.EstimationStatistic.U_STATISTIC)

    return Contender(run, {"library": f"dcor {importlib.metadata.version('dcor')}"})
