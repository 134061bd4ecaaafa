"""What a process of the tests makes once, where the package would make it for each command."""

import functools


def remember() -> None:
    """Keeps the built-in corpora that runs have, and the states whose shapes checkpoints are read into."""
    # Here, because the package may be imported only after its annotations are checked and its networks known.
    from wae_jax.data import load as load_data
    from wae_jax.generation import load as load_model

    load_data.make_demo_corpus = _remembered_corpus(load_data.make_demo_corpus)
    load_model.create_train_state = functools.lru_cache(maxsize=8)(load_model.create_train_state)


def _remembered_corpus(make):
    @functools.lru_cache(maxsize=8)
    def make_once(**arguments):
        phrases, songs = make(**arguments)
        phrases.flags.writeable = False
        return phrases, songs

    return make_once
