"""The autoencoder in Keras on TensorFlow, after the layers and the training step of w00zie/wae_music."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.bench import phrases
from tests.bench.arithmetic import PHRASE
from tests.bench.contender import Contender
from wae_jax.models.networks import NETWORKS, TRACKS, Conv

_DENSITY = 0.019
_NUM_BATCHES = 4
_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def _convolution(kind: type, spec: Conv, h_dim: int) -> Any:
    return kind(
        PHRASE[2] if spec.filters == TRACKS else spec.filters * h_dim,
        spec.kernel or (6, 6),
        strides=spec.strides,
        padding="same",
        use_bias=spec.use_bias,
        kernel_initializer=_initializer(),
    )


def _initializer() -> Any:
    return keras.initializers.TruncatedNormal(stddev=0.05)


def make_encoder(network: str, h_dim: int, z_dim: int, dropout_rate: float = 0.0) -> Any:
    """Piano-rolls [B, T, P, K] to codes [B, Z]."""
    made = [keras.Input(PHRASE)]
    for spec in NETWORKS[network].encoder:
        made += [_convolution(keras.layers.Conv2D, spec, h_dim), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    made += [keras.layers.Flatten(), *_dropout(dropout_rate)]
    made.append(keras.layers.Dense(z_dim, kernel_initializer=_initializer(), dtype=_last()))
    return keras.Sequential(made)


def make_decoder(network: str, h_dim: int, z_dim: int, dropout_rate: float = 0.0) -> Any:
    """Codes [B, Z] to probabilities [B, T, P, K]."""
    row = NETWORKS[network]
    made = [keras.Input((z_dim,))]
    if row.start is None:
        made.append(keras.layers.Reshape((1, 1, z_dim)))
    else:
        start = (row.start[0], row.start[1], row.start[2] * h_dim)
        made.append(keras.layers.Dense(math.prod(start), kernel_initializer=_initializer()))
        made += [keras.layers.BatchNormalization()] * row.normalize_start
        made += [keras.layers.ReLU(), *_dropout(dropout_rate), keras.layers.Reshape(start)]
    for spec in row.decoder[:-1]:
        made += [
            _convolution(keras.layers.Conv2DTranspose, spec, h_dim),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    made.append(_convolution(keras.layers.Conv2DTranspose, row.decoder[-1], h_dim))
    made.append(keras.layers.Activation("sigmoid", dtype="float32"))
    return keras.Sequential(made)


def _dropout(rate: float) -> list[Any]:
    return [keras.layers.Dropout(rate)] if rate else []


def _last() -> Any:
    """Codes are float32 whatever the layers before them are; the dense layer itself computes as they do."""
    return keras.mixed_precision.dtype_policy()


def _squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    squares_a, squares_b = (tf.reduce_sum(tf.square(each), 1) for each in (a, b))
    return squares_a[:, None] + squares_b[None, :] - 2.0 * tf.matmul(a, b, transpose_b=True)


def mmd_squared(z: tf.Tensor, z_prior: tf.Tensor) -> tf.Tensor:
    """The U-statistic with seven inverse multiquadratics, for a prior of variance 1."""
    n = z.shape[0]
    within_z, within_prior = _squared_distances(z, z), _squared_distances(z_prior, z_prior)
    between = _squared_distances(z, z_prior)
    off_diagonal = 1.0 - tf.eye(n)
    total = tf.constant(0.0)
    for scale in _SCALES:
        c = 2.0 * z.shape[1] * scale
        within = off_diagonal * (c / (c + within_z) + c / (c + within_prior))
        total += tf.reduce_sum(within) / (n * (n - 1)) - 2.0 * tf.reduce_mean(c / (c + between))
    return total


def _facts() -> dict[str, Any]:
    accelerators = tf.config.list_logical_devices("GPU")
    return {
        "device": accelerators[0].name if accelerators else "cpu",
        "library": f"tensorflow {tf.__version__}, keras {keras.__version__}",
    }


def _device_memory() -> int | None:
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def _prepare(dtype: str) -> None:
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else "float32")


def _make_step(encoder: Any, decoder: Any, *, batch_size: int, z_dim: int) -> tuple[Callable[[tf.Tensor], Any], int]:
    """The step of WAE-MMD on float batches, which returns the loss, and the number of parameters."""
    variables = encoder.trainable_variables + decoder.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-7)

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            z = tf.cast(encoder(x, training=True), tf.float32)
            x_hat = decoder(z, training=True)
            z_prior = tf.random.normal((batch_size, z_dim))
            reconstruction = tf.reduce_mean(tf.reduce_sum(tf.square(x - x_hat), (1, 2, 3)))
            loss = 0.5 * reconstruction + 100.0 * mmd_squared(z, z_prior)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step, sum(math.prod(variable.shape) for variable in variables)


def train_step(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """One step of WAE-MMD under tf.function, on float batches in memory."""
    _prepare(dtype)
    encoder, decoder = make_encoder(network, h_dim, z_dim), make_decoder(network, h_dim, z_dim)
    step, parameters = _make_step(encoder, decoder, batch_size=batch_size, z_dim=z_dim)
    random = np.random.default_rng(0)
    batches = [
        tf.constant((random.random((batch_size, *PHRASE), np.float32) < _DENSITY).astype(np.float32))
        for _ in range(_NUM_BATCHES)
    ]

    def run(steps: int) -> None:
        loss = None
        for i in range(steps):
            loss = step(batches[i % _NUM_BATCHES])
        if loss is not None:
            loss.numpy()

    return Contender(run, {"parameters": parameters, **_facts()}, _device_memory)


class Training:
    """The training of an autoencoder on the phrases of a dataset.

    Attributes:
      encoder: phrases to codes.
      decoder: codes to probabilities.
      parameters: their number.
      done: steps so far.
    """

    def __init__(
        self, *, data: str, seed: int, network: str, batch_size: int, h_dim: int, z_dim: int, dropout_rate: float
    ) -> None:
        keras.utils.set_random_seed(seed)
        self.encoder = make_encoder(network, h_dim, z_dim, dropout_rate)
        self.decoder = make_decoder(network, h_dim, z_dim, dropout_rate)
        self._step, self.parameters = _make_step(self.encoder, self.decoder, batch_size=batch_size, z_dim=z_dim)
        self._rows = phrases.open_splits(data)[0]
        self._seed, self._batch_size = seed, batch_size
        self.done = 0

    def train(self, steps: int) -> None:
        """Takes so many steps and waits for their end."""
        loss = None
        for _ in range(steps):
            batch = phrases.training_batch(self._rows, self.done, seed=self._seed, batch_size=self._batch_size)
            loss = self._step(_as_floats(batch))
            self.done += 1
        if loss is not None:
            loss.numpy()


def _as_floats(x: np.ndarray) -> tf.Tensor:
    return tf.cast(tf.constant(x), tf.float32)


def training_run(
    *, data: str, seed: int, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str, dropout_rate: float
) -> Contender:
    """That step on the phrases of a dataset."""
    _prepare(dtype)
    sizes: dict[str, Any] = {"network": network, "batch_size": batch_size, "h_dim": h_dim, "z_dim": z_dim}
    training = Training(data=data, seed=seed, dropout_rate=dropout_rate, **sizes)
    valid_rows = phrases.open_splits(data)[1]

    @tf.function
    def reconstruct(x: tf.Tensor) -> tf.Tensor:
        return training.decoder(tf.cast(training.encoder(x, training=False), tf.float32), training=False)

    def measure() -> dict[str, Any]:
        score = phrases.f1_of_reconstructions(
            lambda x: reconstruct(_as_floats(x)).numpy(), valid_rows, batch_size=batch_size
        )
        return {"f1": score, "steps": training.done}

    return Contender(training.train, {"parameters": training.parameters, **_facts()}, _device_memory, measure)


def decode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """Codes to probabilities, both in the host's memory."""
    _prepare(dtype)
    apply = tf.function(make_decoder(network, h_dim, z_dim))
    codes = np.random.default_rng(0).standard_normal((batch_size, z_dim), np.float32)

    def run(steps: int) -> None:
        for _ in range(steps):
            apply(tf.constant(codes), training=False).numpy()

    return Contender(run, _facts(), _device_memory)


def encode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """Phrases to codes, both in the host's memory."""
    _prepare(dtype)
    apply = tf.function(make_encoder(network, h_dim, z_dim))
    phrases = np.random.default_rng(0).random((batch_size, *PHRASE), np.float32) < _DENSITY

    def run(steps: int) -> None:
        for _ in range(steps):
            tf.cast(apply(tf.cast(tf.constant(phrases), tf.float32), training=False), tf.float32).numpy()

    return Contender(run, _facts(), _device_memory)


def mmd(*, num: int, z_dim: int) -> Contender:
    """The U-statistic over whole matrices of distances."""
    z, z_prior = 1.1 * tf.random.normal((num, z_dim)), tf.random.normal((num, z_dim))
    apply = tf.function(mmd_squared)

    def run(steps: int) -> None:
        for _ in range(steps):
            apply(z, z_prior).numpy()

    return Contender(run, _facts(), _device_memory)
