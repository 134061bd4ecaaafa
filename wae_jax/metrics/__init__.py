"""Metrics of music and of sets of phrases, with intervals: pure functions of rolls, mostly NumPy.

Notes, harmony, reconstruction, distances, distribution metrics, and tables of them; nothing that needs a trained model
(that is `evaluation`). May import `pianoroll` and `array_types`.
"""
