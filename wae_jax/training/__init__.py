"""Training: loop, step, state, optimizers, latent penalties, checkpoints, workdir, metric writers, trackers.

Samples, curves and pages are made by hooks that `main` passes in: nothing here draws or plays.
May import `data`, `models`, `objective`, `metrics`, `pianoroll`, `config`, `files`, `remote`, `programs`, `errors`
and `array_types`.
"""
