"""Array types that annotations in all packages share."""

from __future__ import annotations

import jax
import numpy as np

# Functions written in jax.numpy accept NumPy arrays as well, and return JAX arrays.
AnyArray = jax.Array | np.ndarray
