"""Phrases for training and evaluation: datasets, splits, statistics, the input pipeline, the built-in corpus.

Making datasets of files is in the package build; no model and no training state is known here.
May import `render`, `metrics`, `pianoroll`, `config`, `files`, `remote`, `errors` and `array_types`.
"""
