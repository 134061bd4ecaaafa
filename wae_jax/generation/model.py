"""A trained model as functions of NumPy arrays: encode, decode, sample and binarize; with its training data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key, Shaped

from wae_jax.config import BinarizationRule, Config
from wae_jax.data.dataset import Dataset, spread
from wae_jax.data.load import open_data
from wae_jax.data.statistics import TrackStatistics, track_statistics
from wae_jax.errors import MissingDatasetError, RequestError
from wae_jax.generation.attributes import measure
from wae_jax.generation.binarization import binarize
from wae_jax.generation.calibration import fit_rule
from wae_jax.generation.code_statistics import MAX_PHRASES as MAX_PHRASES_OF_STATISTICS
from wae_jax.generation.code_statistics import CodeStatistics, code_statistics
from wae_jax.generation.latent_paths import slerp_path
from wae_jax.models.autoencoder import Autoencoder, make_autoencoder
from wae_jax.objective.prior import sample_prior
from wae_jax.pianoroll import Codes, PackedPhrases, Probabilities, Rolls, unpack
from wae_jax.training.checkpoint_meta import checkpoint_digest, describe_leaves
from wae_jax.training.learned_prior import MAX_PHRASES, KernelDensity, fit_kernel_density, sample_kernel_density
from wae_jax.training.state import TrainState

Roll = Shaped[np.ndarray, "T=192 P=84 K=5"]
Code = Float[np.ndarray, " Z"]

_PHRASES_AT_A_TIME = 32
# With 128, thresholds fitted on samples of real music differ by half from set to set.
_CALIBRATION_SAMPLES = 512
# The samples that a rule is fitted on have a key that no seed reaches: `jax.random.key(seed)` has a first word of 0 for
# every seed below 2**32; with this number folded in it is not 0.
_CALIBRATION_DOMAIN = 0xCA11B


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained model; `wae_jax.load` opens one.

    Attributes:
      config: the configuration of its training.
      variables: of its autoencoder, on the host: {"params": ..., "batch_stats": ...}.
      step: training steps it has seen.
      digest: of the checkpoint, or of the exported model.
      track_statistics: of the training data, where they come with the model.
      kernel_density: the distribution that codes are sampled from; None for the normal prior.
      discriminator: parameters of the latent discriminator that it was trained with; None without one, and where only
        the autoencoder has been kept, as in exported files.
      code_statistics: of the codes of training phrases, where they come with the model.
    """

    config: Config
    variables: Mapping[str, Any]
    step: int
    digest: str
    track_statistics: TrackStatistics | None = None
    kernel_density: KernelDensity | None = None
    discriminator: Mapping[str, Any] | None = None
    code_statistics: CodeStatistics | None = None

    @classmethod
    def of_state(cls, config: Config, state: TrainState, statistics: TrackStatistics | None = None) -> Model:
        """The model at a step of its training; its digest is that of a checkpoint of this state.

        The state is on devices or on the host; statistics of None are counted where they are needed.
        """
        host = jax.device_get(state)
        digest = checkpoint_digest(describe_leaves(host))
        return cls(config, host.evaluation_variables(), int(host.step), digest, statistics, host.kernel_density())

    @property
    def prior(self) -> str:
        """The name of the distribution that codes are sampled from: "normal" or "kernel_density"."""
        return "normal" if self.kernel_density is None else "kernel_density"

    @functools.cached_property
    def autoencoder(self) -> Autoencoder:
        """The module that `variables` belong to."""
        return make_autoencoder(self.config.model, self.config.refiner, dtype=self.config.dtype)

    @functools.cached_property
    def _variables_on_device(self) -> Any:
        return jax.device_put(dict(self.variables))

    def encode(self, rolls: Rolls) -> Codes:
        """Codes of phrases; the means of a random encoder.

        Examples:
          >>> import wae_jax
          >>> model = wae_jax.load()
          >>> model.encode(model.binarize(model.sample(3))).shape == (3, model.config.model.z_dim)
          True
        """
        return _in_parts(functools.partial(_encode, self.autoencoder, self._variables_on_device), rolls)

    def decode(self, codes: Codes) -> Probabilities:
        """Probabilities of the cells of the phrases with these codes, float32.

        Examples:
          >>> import numpy as np, wae_jax
          >>> model = wae_jax.load()
          >>> model.decode(np.zeros((1, model.config.model.z_dim), np.float32)).shape
          (1, 192, 84, 5)
        """
        return _in_parts(functools.partial(_decode, self.autoencoder, self._variables_on_device), codes)

    def sample_codes(self, seed: int, num: int) -> Codes:
        """Codes sampled from the prior; the first ones are the same for every number."""
        return self._sample(jax.random.key(seed), num)

    def sample(self, num: int, *, seed: int = 0) -> Probabilities:
        """Probabilities of the cells of sampled phrases: `decode(sample_codes(seed, num))`.

        Examples:
          >>> import wae_jax
          >>> probabilities = wae_jax.load().sample(2, seed=7)
          >>> probabilities.shape, float(probabilities.max()) <= 1
          ((2, 192, 84, 5), True)
        """
        return self.decode(self.sample_codes(seed, num))

    def interpolate(self, start: Roll | Code, end: Roll | Code, num: int) -> Probabilities:
        """Probabilities of the cells of `num` phrases from one to another, along a great circle between their codes.

        Args:
          start: a phrase, [T, P, K], or a code, [Z].
          end: likewise.
          num: at least 2; the first and the last have the codes of `start` and `end`.

        Raises:
          RequestError: if `num` is less than 2.

        Examples:
          >>> import wae_jax
          >>> model = wae_jax.load()
          >>> one, other = model.binarize(model.sample(2, seed=1))
          >>> model.interpolate(one, other, 5).shape
          (5, 192, 84, 5)
        """
        if num < 2:
            raise RequestError(f"num is {num}; expected at least 2, the phrases at both ends")
        one, other = (np.asarray(each) if each.ndim == 1 else self.encode(each[None])[0] for each in (start, end))
        return self.decode(slerp_path(one, other, np.linspace(0, 1, num)).astype(np.float32))

    def binarize(self, probabilities: Probabilities, rule: BinarizationRule | None = None, *, seed: int = 0) -> Rolls:
        """Phrases from probabilities, by the model's own rule or another whose parts are all fitted.

        Examples:
          >>> import wae_jax
          >>> model = wae_jax.load()
          >>> phrases = model.binarize(model.sample(2))
          >>> phrases.dtype, phrases.shape
          (dtype('bool'), (2, 192, 84, 5))
        """
        return binarize(probabilities, self.rule if rule is None else rule, seed=seed)

    @functools.cached_property
    def rule(self) -> BinarizationRule:
        """The binarization rule of the configuration, `calibrated`."""
        return self.calibrated(self.config.binarization)

    def calibrated(self, rule: BinarizationRule) -> BinarizationRule:
        """The rule with its open parts fitted on samples that `sample_codes` gives for no seed.

        Raises:
          DatasetError: if that takes statistics of training data that can no longer be found.
        """
        if not rule.fitted_parts:
            return rule
        return fit_rule(self.decode(self.calibration_codes()), self.statistics(), rule)

    def calibration_codes(self) -> Codes:
        """Codes of the samples that rules are fitted on."""
        return self._sample(jax.random.fold_in(jax.random.key(0), _CALIBRATION_DOMAIN), _CALIBRATION_SAMPLES)

    def _sample(self, key: Key[Array, ""], num: int) -> Codes:
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(num))
        if self.kernel_density is not None:
            return sample_kernel_density(self.kernel_density, keys)
        latent_dim, variance = self.config.model.z_dim, self.config.objective.prior_variance
        return np.asarray(sample_prior(keys, latent_dim=latent_dim, prior_variance=variance))

    def statistics(self) -> TrackStatistics:
        """Statistics of the training data, track by track. Raises DatasetError as `data`."""
        return self.track_statistics or track_statistics(self.phrases("train"))

    def statistics_of_codes(self) -> CodeStatistics:
        """Statistics of the codes of up to 2,048 training phrases. Raises DatasetError as `data`."""
        return self.code_statistics or self._statistics_of_codes

    @functools.cached_property
    def _statistics_of_codes(self) -> CodeStatistics:
        rows = self.phrases("train")
        rolls = unpack(np.asarray(rows[spread(len(rows), MAX_PHRASES_OF_STATISTICS)]))
        return code_statistics(self.encode(rolls), measure(rolls))

    def data(self) -> Dataset:
        """The dataset that the model was trained on.

        Raises:
          MissingDatasetError: if it can no longer be found.
          DatasetError: if it is damaged.
        """
        try:
            return open_data(self.config.data)
        except MissingDatasetError as error:
            raise MissingDatasetError(f"the training data of the model are missing: {error}") from error

    def phrases(self, split: str) -> PackedPhrases:
        """The packed rows of one split of the dataset that the model was trained on."""
        return self.data().split(split)

    def with_prior(self, name: str) -> Model:
        """The model, sampling from the prior N(0, prior_variance * I), "normal", or from a "kernel_density" of codes.

        A model whose run fitted none gets one: up to 4,096 training phrases are encoded, which takes seconds.

        Raises:
          DatasetError: if the data for that can no longer be found.
          RequestError: if there are too few codes, or some are not finite.
        """
        if name == "normal":
            return dataclasses.replace(self, kernel_density=None)
        if self.kernel_density is not None:
            return self
        data = self.data()
        rows, songs = data.split("train"), data.songs("train")
        if len(rows) < 2:
            raise RequestError(
                f"a density estimate takes the codes of at least two training phrases, and {data.name} has "
                f"{len(rows)}; expected the normal prior"
            )
        chosen = spread(len(rows), MAX_PHRASES)
        codes = self.encode(unpack(np.asarray(rows[chosen])))
        try:
            density = fit_kernel_density(codes, songs=None if songs is None else songs[chosen])
        except ValueError as error:
            raise RequestError(f"the density of codes of training phrases cannot be estimated: {error}") from error
        return dataclasses.replace(self, kernel_density=density)


# Two modules of one configuration are equal, so that these compile once a process; and the variables are arguments, for
# as constants they would be compiled into the program.
@functools.partial(jax.jit, static_argnums=0)
def _encode(autoencoder: Autoencoder, variables: Any, x: Shaped[Array, "B T P K"]) -> Float[Array, "B Z"]:
    return jnp.asarray(autoencoder.apply(variables, x.astype(jnp.float32), method="encode"))


@functools.partial(jax.jit, static_argnums=0)
def _decode(autoencoder: Autoencoder, variables: Any, z: Float[Array, "B Z"]) -> Float32[Array, "B T P K"]:
    return jax.nn.sigmoid(jnp.asarray(autoencoder.apply(variables, z, method="decode"))).astype(jnp.float32)


def _in_parts(function: Callable[[Any], jax.Array], array: np.ndarray) -> np.ndarray:
    """Applies a jitted function of phrases to parts of one size each, so that it compiles once."""
    parts = []
    # At least one part, so that no phrases have a result of the right shape too.
    for start in range(0, max(len(array), 1), _PHRASES_AT_A_TIME):
        part = array[start : start + _PHRASES_AT_A_TIME]
        missing = [(0, _PHRASES_AT_A_TIME - len(part))] + [(0, 0)] * (array.ndim - 1)
        parts.append(np.asarray(function(np.pad(part, missing)))[: len(part)])
    return np.concatenate(parts)
