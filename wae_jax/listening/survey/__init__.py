"""The blind survey: its design, its page, the results files of listeners and their score.

Statistics of preferences and ratings, and simulated listeners to check them.
May import what `listening` may.
"""
