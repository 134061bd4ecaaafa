"""Stand-ins for packages that a machine lacks: benchmarks run where jax, flax, optax and orbax are all there is.

Of the packages that the step and the loop import beyond these, none computes: they annotate types, and write
TensorBoard's files, a progress line and a table of parameters. A stand-in takes every call and does nothing; the lines
of a benchmark name those that it had.
"""

import importlib.machinery
import importlib.util
import sys
import unittest.mock

_PACKAGES = {
    "clu": (),
    "jaxtyping": (),
    "ml_collections": (),
    "tensorboardX": ("event_file_writer", "proto.event_pb2"),
    "tqdm": (),
}
STAND_INS = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]

for _package in STAND_INS:
    for _name in (_package, *(f"{_package}.{part}" for part in _PACKAGES[_package])):
        sys.modules[_name] = unittest.mock.MagicMock(__spec__=importlib.machinery.ModuleSpec(_name, None))
