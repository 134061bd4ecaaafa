"""Flags that several commands share, and how commands report errors.

Only commands import this package; whatever computes takes named arguments.
May import `evaluation`, `generation`, `data`, `render`, `pianoroll`, `config`, `files`, `remote` and `errors`.
"""
