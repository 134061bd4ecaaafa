"""The table that stands at the end of a command."""

import numpy as np

from wae_jax.metrics.suite import music_table


def test_numbers_are_whole_and_shares_are_not():
    one = np.zeros((1, 192, 84, 5), bool)
    one[0, :3, 10, 1] = True
    rows = dict(line.rsplit(maxsplit=2)[0::2] for line in music_table({"a": one, "b": one}).splitlines()[1:])
    assert rows["phrases"] == "1"
    assert rows["cells a phrase"] == "3"
    assert rows["Piano is active"] == "1.000"
    assert rows["Bass is active"] == "0.000"
    assert rows["empty bars"] == "0.950"
