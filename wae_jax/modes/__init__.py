"""What `python -m wae_jax.generate` can do: each mode a pure function of a trained run and a request."""
