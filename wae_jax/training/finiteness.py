"""Checks that end a run before numbers that are not finite reach an evaluation or a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wae_jax.errors import NonFiniteLossError
from wae_jax.training.state import TrainState

_NAMES_IN_MESSAGE = 3


def non_finite_error(names: Sequence[str], when: str) -> NonFiniteLossError:
    """The error for numbers with these names, `when` being such as "at step 7"."""
    listed = ", ".join(names[:_NAMES_IN_MESSAGE])
    more = f" and {len(names) - _NAMES_IN_MESSAGE} more" if len(names) > _NAMES_IN_MESSAGE else ""
    return NonFiniteLossError(
        f"{listed}{more} not finite {when}; checkpoints from before it are untouched. "
        "A lower learning rate or clip_norm, or float32 in place of bfloat16, may help"
    )


def check_state(state: TrainState) -> None:
    """Checks the state that the last step left: the loss and the gradients of a step are those of the state before it.

    Raises:
      NonFiniteLossError: if a number of the state is not finite; the message names its array. A learned prior is left
        out, since it is fitted after this check.
    """
    host = jax.device_get(dataclasses.replace(state, learned_prior={}))
    wrong = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(host)
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(leaf).all()
    ]
    if wrong:
        raise non_finite_error(wrong, f"after step {int(host.step)}")
