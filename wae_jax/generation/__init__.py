"""A trained model: opened from a workdir or file, it encodes, decodes, samples and binarizes.

The binarization rule and its calibration, learned priors, modes of `generate`; no measures, no files of music.
May import `training`, `data`, `models`, `objective`, `metrics`, `pianoroll`, `config`, `files`, `remote`, `hub`,
`programs`, `errors` and `array_types`.
"""
