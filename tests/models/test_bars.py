"""The decoder in parts: every bar is made as any other is, and every track by filters of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decoding import Z_DIM, random_model
from tests.helpers import autoencoder_of

CODES = np.random.default_rng(1).normal(size=(2, Z_DIM)).astype(np.float32)


def decoder(normalization="batch", **fields):
    """The parameters and the statistics of a decoder, and what makes logits of these."""
    config, variables = random_model("bars", normalization, **fields)
    model = autoencoder_of(config)

    @jax.jit
    def decode(params, averages):
        params = {"params": {**variables["params"], "decoder": params}, "batch_stats": {"decoder": averages}}
        return model.apply(params, CODES, method="decode")

    return variables["params"]["decoder"], variables.get("batch_stats", {}).get("decoder", {}), decode


@pytest.mark.parametrize("normalization", ["batch", pytest.param("layer", marks=pytest.mark.slow)])
def test_bars_whose_codes_change_places_change_places(normalization):
    params, averages, decode = decoder(normalization)
    order = [2, 0, 3, 1]

    def permuted(leaf):
        # The codes of the four bars lie one after the other.
        bars = np.split(np.asarray(leaf), 4, axis=-1)
        return np.concatenate([bars[i] for i in order], axis=-1)

    bars, moved = (
        np.asarray(decode({**params, "bars": dense}, averages)).reshape(2, 4, 48, 84, 5)
        for dense in (params["bars"], jax.tree.map(permuted, params["bars"]))
    )
    np.testing.assert_array_equal(moved, bars[:, order])
    assert all(np.abs(bars[:, i] - bars[:, j]).max() > 0.1 for i in range(4) for j in range(i))


def test_tracks_see_filters_of_their_own_alone():
    params, averages, decode = decoder()

    def of_track(track):
        return jax.jit(jax.grad(lambda params: jnp.sum(jnp.sin(decode(params, averages)[..., track]))))(params)

    for track in range(5):
        gradients = of_track(track)
        private = [
            np.split(np.abs(leaf), 5, axis=axis)
            for leaf, axis in (
                (gradients["conv_2"]["kernel"], 2),
                (gradients["norm_2"]["scale"], 0),
                (gradients["norm_2"]["bias"], 0),
                (gradients["conv_3"]["kernel"], 2),
                (gradients["conv_3"]["bias"], 0),
            )
        ]
        for shares in private:
            assert [share.max() > 0 for share in shares] == [other == track for other in range(5)]
        # What is shared is every track's.
        assert all(np.abs(leaf).max() > 0 for name in ("bars", "conv_1") for leaf in jax.tree.leaves(gradients[name]))
