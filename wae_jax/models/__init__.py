"""The networks as flax modules: encoder, decoder, refiner and discriminator, and one table of architectures.

A network is a row of `networks.NETWORKS`; `autoencoder.make_autoencoder` builds it from specs; `modules` has the
layers, `conv` their convolutions by platform. No losses, optimizers or training state.
May import `pianoroll`, `config`, `errors` and `array_types`.
"""
