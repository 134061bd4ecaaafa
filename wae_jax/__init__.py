"""Wasserstein autoencoders for multi-track music, in JAX.

Example:
  model = wae_jax.load()  # the model that ships; or a workdir, or an exported model
  phrases = model.binarize(model.sample(8, seed=1))
  wae_jax.to_midi(phrases, "eight.mid")
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wae_jax.api import plot, read_phrases, to_audio, to_midi, to_multitrack
    from wae_jax.generation.load import load
    from wae_jax.generation.model import Model

__version__ = "0.3.0"
__all__ = ["Model", "__version__", "load", "plot", "read_phrases", "to_audio", "to_midi", "to_multitrack"]

_MODULES = {"load": "wae_jax.generation.load", "Model": "wae_jax.generation.model"}  # the others are in wae_jax.api

# In python -m wae_jax.COMMAND, whose imports take seconds: until the command takes Ctrl-C, it ends without a traceback.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used: with JAX they take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES.get(name, "wae_jax.api")), name)
