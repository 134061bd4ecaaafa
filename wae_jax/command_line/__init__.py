"""Flags that several commands share, and how commands report errors.

Only commands import this package; the packages that compute take named arguments instead of flags.
May import `evaluation`, `generation`, `data`, `render`, `pianoroll`, `config`, `files`, `remote`, `programs` and
`errors`.
"""
