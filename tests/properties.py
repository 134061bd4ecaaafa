"""Hypothesis for all tests of properties: how many examples are tried, and strategies that several tests share.

`HYPOTHESIS_PROFILE=slow` tries some fifty times as many examples, others each time.
"""

import os
import pathlib
import tempfile

import hypothesis
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from wae_jax import pianoroll

# Without a database, and with what hypothesis keeps for itself elsewhere: the folder of the project stays as it is.
hypothesis.configuration.set_hypothesis_home_dir(pathlib.Path(tempfile.gettempdir(), "wae_jax_hypothesis"))
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": list(hypothesis.HealthCheck)}
settings.register_profile("default", max_examples=8, derandomize=True, **_ALWAYS)
settings.register_profile("slow", max_examples=400, print_blob=True, **_ALWAYS)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)


def some(fraction):
    """A share of the profile's examples, for properties that cost more or have less to show."""
    return settings(max_examples=max(1, round(settings().max_examples * fraction)))


CELLS = st.tuples(st.integers(0, pianoroll.NUM_STEPS - 1), st.integers(0, pianoroll.NUM_PITCHES - 1), st.integers(0, 4))


@st.composite
def phrases(draw, *, min_phrases=0, max_phrases=3):
    """Rolls of very different densities, with some cells, not least at the edges, switched one by one."""
    num = draw(st.integers(min_phrases, max_phrases))
    density = draw(st.sampled_from([0.0, 0.001, 0.02, 0.5, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rolls = rng.random((num, *pianoroll.PHRASE_SHAPE)) < density
    if draw(st.booleans()):
        # Long notes rather than splinters.
        rolls = np.repeat(rolls[:, ::8], 8, axis=1)
    for phrase in range(num):
        for cell in draw(st.lists(CELLS, max_size=6)):
            rolls[(phrase, *cell)] ^= True
    return rolls
