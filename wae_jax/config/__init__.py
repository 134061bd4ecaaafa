"""The configuration of a run, as frozen dataclasses that are read once, at the top of a program.

Every field is declared in `fields.py` with its type, range, default and meaning; nothing here computes. `configs/*.py`
start from `default_config()` and change what differs; `read_config` checks and reads. May import `errors`.
"""

from wae_jax.config.fields import (
    LONGEST_FITTED_SHORT_NOTE,
    PER_TRACK_PARTS,
    BinarizationRule,
    BinaryNeuronSpec,
    Config,
    CostSpec,
    DataSpec,
    DiscriminatorSpec,
    EvalSpec,
    ModelSpec,
    ObjectiveSpec,
    OptimizerSpec,
    RefinerSpec,
)
from wae_jax.config.kinds import FIT, NUM_TRACKS, PerTrack, format_per_track, read_per_track
from wae_jax.config.read import allowed_values, comparable_fields, default_config, flatten_config, read_config

__all__ = [
    "FIT",
    "LONGEST_FITTED_SHORT_NOTE",
    "NUM_TRACKS",
    "PER_TRACK_PARTS",
    "BinarizationRule",
    "BinaryNeuronSpec",
    "Config",
    "CostSpec",
    "DataSpec",
    "DiscriminatorSpec",
    "EvalSpec",
    "ModelSpec",
    "ObjectiveSpec",
    "OptimizerSpec",
    "PerTrack",
    "RefinerSpec",
    "allowed_values",
    "comparable_fields",
    "default_config",
    "flatten_config",
    "format_per_track",
    "read_config",
    "read_per_track",
]
