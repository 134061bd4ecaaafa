"""The blind survey: its design, its page, the results files of listeners and their scores.

Its scripts are in `listening/browser`; flags and printing in `listen.py`.
May import what `listening` may.
"""
