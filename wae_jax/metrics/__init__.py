"""Measures of music and of sets of phrases: pure functions of rolls, with intervals.

Notes, harmony, drums, distribution metrics, tables of them; nothing that needs a trained model (that is evaluation).
May import `pianoroll` and `array_types`.
"""
