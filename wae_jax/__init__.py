"""Wasserstein autoencoders for multi-track music, in JAX.

Example:
  model = wae_jax.load()  # the model that ships; or a workdir, or an exported file
  phrases = model.binarize(model.sample(8, seed=1))
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wae_jax.generation.load import load
    from wae_jax.generation.model import Model

__version__ = "0.3.0"
__all__ = ["Model", "__version__", "load"]

# In python -m wae_jax.COMMAND, whose imports take seconds: until the command takes Ctrl-C, it ends without a traceback.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used: with JAX they take seconds."""
    if name == "load":
        from wae_jax.generation.load import load

        return load
    if name == "Model":
        from wae_jax.generation.model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
