"""Phrases and metrics as MIDI, Multitracks, sound and pictures; only here are matplotlib and soundfile imported.

What is rendered is decided elsewhere.
May import `pianoroll`, `files` and `errors`.
"""
