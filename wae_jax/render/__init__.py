"""Phrases and metrics as MIDI, Multitracks, sound and pictures; only here are matplotlib and soundfile imported.

The choice of what to render stands elsewhere. Imports `metrics`, `pianoroll` and what stands left of these.
"""
