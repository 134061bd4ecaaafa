"""Tables of numbers as text."""

from wae_jax.generation.modes.request import text_table


def test_a_table_is_read_by_columns():
    rows = [{"phrase": "one", "F1": 0.25, "cells": 7}, {"phrase": "another", "F1": None, "cells": 12}]
    assert text_table(rows).splitlines() == ["phrase      F1  cells", "one      0.250      7", "another      -     12"]
