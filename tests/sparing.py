"""Work of the package that tests are spared: what each command makes anew, and phrases that fill up a part."""

import functools

from tests.checking import unchecked


def spare_work() -> None:
    """Keeps the built-in corpora of runs and the shapes into which checkpoints are read.

    Most tests encode and decode two or three phrases, so that these come in parts of 8 in place of 32.
    """
    # Here, because the package may be imported only after its annotations are checked and its networks known.
    from wae_jax.data import load as load_data
    from wae_jax.generation import load as load_model
    from wae_jax.generation import model

    load_data.make_demo_corpus = _remembered_corpus(load_data.make_demo_corpus)
    load_model.train_state_shapes = functools.lru_cache(maxsize=8)(load_model.train_state_shapes)
    model._PHRASES_AT_A_TIME = 8


def _remembered_corpus(make):
    @functools.lru_cache(maxsize=8)
    def make_once(**arguments):
        with unchecked():  # `test_demo_corpus` makes checked ones, which takes five times as long.
            phrases, songs = make(**arguments)
        phrases.flags.writeable = False
        return phrases, songs

    return make_once
