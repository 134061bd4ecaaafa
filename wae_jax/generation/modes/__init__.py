"""The modes of `generate`: functions of a model and a request that return phrases.

Their flags are in `command_line`, and their files are written by the command.
May import what `generation` may.
"""
