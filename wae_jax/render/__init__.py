"""Phrases and metrics as MIDI, Multitracks, sound and pictures; only here are matplotlib and soundfile imported.

Callers choose the phrases and metrics.
May import `pianoroll`, `files` and `errors`.
"""
