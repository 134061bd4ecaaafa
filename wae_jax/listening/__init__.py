"""Pages that open from disk: the listening page with its latent panel, and the blind survey.

HTML, JavaScript and what they embed; sound files and pictures are made in render.
May import `evaluation`, `generation`, `training`, `data`, `models`, `metrics`, `render`, `pianoroll`, `config`,
`files` and `errors`.
"""
