"""The networks: encoder, decoder, discriminator and refiner as flax modules.

One table of architectures, and convolutions by platform; no losses, no optimizers, no training state.
May import `pianoroll`, `config` (specs), `errors` and `array_types`.
"""
