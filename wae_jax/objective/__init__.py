"""The objective: pure functions of arrays.

Reconstruction costs, MMD, other divergences, adversarial losses, the prior; no networks, parameters or optimizers.
May import `pianoroll`, `config` (specs), `errors` and `array_types`.
"""
