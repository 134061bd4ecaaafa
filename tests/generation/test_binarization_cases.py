"""The binarization rule on the cases that the scripts of pages are tested with too."""

import numpy as np
import pytest

from tests.listening.binarization_cases import CASES, cells_of, probabilities_of, rule_of
from wae_jax.generation.binarization import binarize


@pytest.mark.parametrize("name", CASES)
def test_the_rule_gives_the_notes_of_the_case(name):
    case = CASES[name]
    found = binarize(probabilities_of(case)[None], rule_of(case))
    np.testing.assert_array_equal(found[0], cells_of(case["notes"]))
