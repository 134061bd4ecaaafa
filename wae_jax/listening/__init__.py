"""HTML pages that open from disk: the listening page with its latent panel, and the blind survey.

HTML, JavaScript and the data in them; sound files and pictures are made by render, flags are in `listen.py`.
May import `evaluation`, `generation`, `training`, `data`, `models`, `metrics`, `render`, `pianoroll`, `config`,
`files`, `remote` and `errors`.
"""
