"""Pages that open from disk, for ears: what a run makes, its latent space, and a blind survey."""
