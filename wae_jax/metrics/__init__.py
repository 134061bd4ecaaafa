"""Measures of what the model makes: music, latent space, and how sure one can be of a number."""
