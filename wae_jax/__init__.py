"""Wasserstein autoencoders for multi-track music, in JAX."""

__version__ = "0.1.0"
