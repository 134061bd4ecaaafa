"""Sets of phrases against each other: samples, reconstructions, held-out and training music.

Latent metrics, memorization, tables, comparison of runs, the report; measures of single phrases are in metrics.
May import `generation`, `training`, `data`, `objective`, `metrics`, `models`, `render`, `pianoroll`, `config`,
`files`, `programs` and `errors`.
"""
