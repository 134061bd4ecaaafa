"""The cases of binarization_cases.json, which the rule in Python and the one of pages must both pass.

Each has a rule (parts left out are the defaults), the probabilities of some pitches from a step on (all others are 0),
and the notes [track, MIDI number, onset, length] that must come out, worked out by hand.
"""

import json
import pathlib

import numpy as np

from wae_jax.config import BinarizationRule

CASES = {
    case["name"]: case for case in json.loads(pathlib.Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
}


def rule_of(case) -> BinarizationRule:
    return BinarizationRule(**{k: tuple(v) if isinstance(v, list) else v for k, v in case["rule"].items()})


def probabilities_of(case):
    """float32 [192, 84, 5]."""
    probabilities = np.zeros((192, 84, 5), np.float32)
    for line in case["lines"]:
        end = line["onset"] + len(line["probabilities"])
        probabilities[line["onset"] : end, line["pitch"] - 24, line["track"]] = line["probabilities"]
    return probabilities


def cells_of(notes):
    """bool [192, 84, 5] of [track, MIDI number, onset, length]."""
    cells = np.zeros((192, 84, 5), bool)
    for track, pitch, onset, length in notes:
        cells[onset : onset + length, pitch - 24, track] = True
    return cells
