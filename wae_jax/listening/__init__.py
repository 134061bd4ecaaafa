"""HTML pages that open from disk: the listening page with its latent panel, and the blind survey.

HTML, JavaScript and the data in them; sound files and pictures are made in `render`, flags are in `listen.py`.
May import every package up to `evaluation`; nothing of `command_line`, and no command.
"""
