"""Phrases for training and evaluation: datasets, splits, statistics, the input pipeline, the built-in corpus.

The package `build` makes datasets from files. Nothing here depends on models or training state.
May import `render`, `metrics`, `pianoroll`, `config`, `files`, `remote`, `programs`, `errors` and `array_types`.
"""
