"""This package as a contender, and the plain matrix product that bounds all contenders."""

from __future__ import annotations

import functools
import os
import runpy
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tests.bench.contender import ROOT, Contender
from tests.bench.phrases import THRESHOLD
from tests.bench.stand_ins import STAND_INS  # before anything of the package
from wae_jax import pianoroll
from wae_jax.command_line.host_memory import keep_freed_memory
from wae_jax.config import Config, CostSpec, ModelSpec, ObjectiveSpec, OptimizerSpec
from wae_jax.data.pipeline import BATCH_AXIS, Batch, InputPipeline, replicate
from wae_jax.models.autoencoder import make_autoencoder
from wae_jax.objective.prior import sample_prior
from wae_jax.training import processes
from wae_jax.training.calls import max_steps_per_call, num_train_steps, parallel_step, steps_of_call
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step

DENSITY = 0.019  # of the phrases of LPD-5
NUM_BATCHES = 4
MOST_PHRASES = 512  # that differ in a batch: eight thousand take seconds to make
_STEPS_IN_FLIGHT = 2  # as in the loop

Dtype = Literal["float32", "bfloat16"]

keep_freed_memory()  # as the commands do


def make_config(
    *,
    network: str,
    batch_size: int,
    h_dim: int,
    z_dim: int,
    dtype: Dtype,
    penalty: Literal["mmd", "gan"] = "mmd",
) -> Config:
    """The configuration of the step: WAE-MMD of the original code, without dropout, or WAE-GAN as far as speed goes."""
    return Config(
        dtype=dtype,
        batch_size=batch_size,
        objective=ObjectiveSpec(
            cost=CostSpec(positive_weight=1.0, onset_weight=0.0),
            reconstruction_weight=0.5,
            penalty=penalty,
            penalty_weight=100.0,
        ),
        model=ModelSpec(network=network, h_dim=h_dim, z_dim=z_dim, batch_norm_momentum=0.99, output_bias="zero"),
        autoencoder_optimizer=OptimizerSpec(learning_rate=1e-3),
        discriminator_optimizer=OptimizerSpec(learning_rate=1e-3),
    )


def random_phrases(batch_size: int, seed: int) -> np.ndarray:
    """Random phrases with the density of music, bool `[B, T, P, K]`; those of a large batch repeat."""
    few = (min(batch_size, MOST_PHRASES), *pianoroll.PHRASE_SHAPE)
    some = np.random.default_rng(seed).random(few, np.float32) < DENSITY
    return np.resize(some, (batch_size, *pianoroll.PHRASE_SHAPE))


def device_facts() -> dict[str, Any]:
    """Devices and the version of jax."""
    return {
        "devices": jax.device_count(),
        "device": jax.devices()[0].device_kind,
        "library": f"jax {jax.__version__}",
        **({"stand_ins": STAND_INS} if STAND_INS else {}),
    }


def device_memory() -> int | None:
    """Peak bytes on the first device; None where they are not counted."""
    statistics = jax.local_devices()[0].memory_stats()
    return statistics["peak_bytes_in_use"] if statistics else None


def train_step(*, batch_size: int, **others: Any) -> Contender:
    """The bare training step on packed batches that are already on the devices; of one process or of several.

    Arguments are those of `make_config`.
    """
    config = make_config(batch_size=batch_size, **others)
    state = replicate(create_train_state(config, track_densities=(DENSITY,) * pianoroll.NUM_TRACKS, num_train_steps=1))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.autoencoder.params))
    step = parallel_step(make_train_step(config, num_train_steps=1), donate_state=True)
    put_on_devices = jax.pmap(lambda batch: batch, axis_name=BATCH_AXIS)
    share = batch_size // jax.process_count()
    position = np.arange(share, dtype=np.int32) + share * jax.process_index()
    position = position.reshape(jax.local_device_count(), -1)

    def make_batch(seed: int) -> Batch:
        packed = pianoroll.pack(random_phrases(share, seed))
        return put_on_devices(Batch(packed.reshape(*position.shape, -1), position))

    batches = [make_batch(seed) for seed in range(NUM_BATCHES)]

    def run(steps: int) -> None:
        nonlocal state
        waiting: list[Any] = []
        for i in range(steps):
            state, metrics = step(state, batches[i % NUM_BATCHES])
            waiting.append(metrics)
            if len(waiting) > _STEPS_IN_FLIGHT:
                jax.block_until_ready(waiting.pop(0))
        jax.block_until_ready((state, waiting))

    return Contender(run, {"parameters": parameters, **device_facts()}, device_memory)


def training_run(*, config: str, data: str, changes: dict[str, Any]) -> Contender:
    """The training steps of a run with its learning rates, on its data; without logs, samples and checkpoints.

    Args:
      config: a file of `configs/`, with a variant behind a colon; paths are relative to the repository's folder.
      data: a folder made by build_dataset.
      changes: fields to change, as in `tests.helpers.changed`.
    """
    from tests.helpers import changed
    from wae_jax.config import read_config
    from wae_jax.data.load import open_data
    from wae_jax.data.statistics import track_densities
    from wae_jax.training.evaluation_step import make_evaluate
    from wae_jax.training.host_devices import use_all_cores

    path, *variant = config.split(":")
    spec = changed(read_config(runpy.run_path(str(ROOT / path))["get_config"](*variant)), data__path=data, **changes)
    use_all_cores(spec.batch_size)
    dataset = open_data(spec.data)
    train_rows, valid_rows = dataset.split("train"), dataset.split("valid")
    spec = changed(spec, eval__threshold=THRESHOLD, eval__num_phrases=len(valid_rows), eval__num_train_phrases=0)
    total = num_train_steps(spec, len(train_rows))
    state = replicate(create_train_state(spec, track_densities=track_densities(train_rows), num_train_steps=total))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.autoencoder.params))
    one_step = make_train_step(spec, num_train_steps=total)
    train_steps = parallel_step(functools.partial(jax.lax.scan, one_step), donate_state=True)
    pipeline = InputPipeline(
        train_rows,
        batch_size=spec.batch_size,
        placement=spec.data.placement,
        following=dataset.following("train") if spec.data.shift_bars else None,
    )
    evaluate = make_evaluate(spec, train_rows=train_rows, valid_rows=valid_rows)
    at_most = max_steps_per_call(spec.steps_per_call, stops=(total,))
    done = 0

    def run(steps: int) -> None:
        nonlocal state, done
        end = min(done + steps, total)
        while done < end:
            count = steps_of_call(done, at_most=at_most, total=total, stops=(total,))
            state, _ = train_steps(state, pipeline.training_batches(spec.seed, done, count))
            done += count
        jax.block_until_ready(state)

    def measure() -> dict[str, Any]:
        return {"f1": evaluate(state)["eval/f1"], "steps": done, "is_finished": done == total}

    facts = {
        "parameters": parameters,
        **{name: getattr(spec.model, name) for name in ("network", "h_dim", "z_dim", "dropout_rate")},
        **{name: getattr(spec, name) for name in ("batch_size", "dtype", "ema_decay", "num_epochs")},
        "penalty": spec.objective.penalty,
        "schedule": spec.autoencoder_optimizer.schedule,
        "num_train_steps": total,
    }
    return Contender(run, {**facts, **device_facts()}, device_memory, measure)


def train_step_on_a_core(
    *, core: int, coordinator: str, num_processes: int, process_id: int, **sizes: Any
) -> Contender:
    """`train_step` of a process with one core; `batch_size` is that of all processes together."""
    os.sched_setaffinity(0, {core})
    processes.start(coordinator, num_processes, process_id)
    return train_step(**sizes)


def decode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: Dtype) -> Contender:
    """Codes to probabilities, both in host memory, as in `generate`."""
    model = make_model(network=network, batch_size=batch_size, h_dim=h_dim, z_dim=z_dim, dtype=dtype)
    codes = np.random.default_rng(0).standard_normal((batch_size, z_dim), np.float32)

    def run(steps: int) -> None:
        for _ in range(steps):
            model.decode(codes)

    return Contender(run, device_facts(), device_memory)


def encode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: Dtype) -> Contender:
    """Phrases to codes, both in host memory."""
    model = make_model(network=network, batch_size=batch_size, h_dim=h_dim, z_dim=z_dim, dtype=dtype)
    phrases = random_phrases(batch_size, 0)

    def run(steps: int) -> None:
        for _ in range(steps):
            model.encode(phrases)

    return Contender(run, device_facts(), device_memory)


def make_model(**sizes: Any) -> Any:
    """A `Model` with initial variables."""
    from wae_jax.generation.model import Model

    config = make_config(**sizes)
    autoencoder = make_autoencoder(config.model, config.refiner, dtype=config.dtype)
    variables = jax.jit(autoencoder.init)(jax.random.key(0), jnp.zeros((1, *pianoroll.PHRASE_SHAPE)))
    return Model(config, variables, step=0, digest="")


def matmul(*, dtype: Dtype) -> Contender:
    """Products of large matrices, one after the other, accumulated in float32: the ceiling on this machine."""
    on_cpu = jax.default_backend() == "cpu"
    n, products = (2048, 4 if dtype == "bfloat16" else 2) if on_cpu else (8192, 20)
    one, other = (
        jax.random.normal(jax.random.key(seed), (n, n)).astype(dtype) / jnp.sqrt(n).astype(dtype) for seed in (0, 1)
    )

    @jax.jit
    def chain(a: jax.Array, b: jax.Array) -> jax.Array:
        # Each product needs the one before it, so that none can be left out or taken out of the loop.
        def multiply(_: int, left: jax.Array) -> jax.Array:
            return jnp.dot(left, b, preferred_element_type=jnp.float32).astype(dtype)

        return jax.lax.fori_loop(0, products, multiply, a)

    def run(steps: int) -> None:
        for _ in range(steps):
            chain(one, other).block_until_ready()

    return Contender(run, {"gflop": 2e-9 * n**3 * products}, device_memory)


def copy() -> Contender:
    """Additions of 1 to a large array in place, one after the other: each reads and writes all of it."""
    on_cpu = jax.default_backend() == "cpu"
    size, additions = (2**25, 4) if on_cpu else (2**28, 20)
    add = jax.jit(lambda numbers: numbers + 1.0, donate_argnums=0)
    numbers = jnp.zeros(size, jnp.float32)

    def run(steps: int) -> None:
        nonlocal numbers
        for _ in range(steps * additions):
            numbers = add(numbers)
        numbers.block_until_ready()

    return Contender(run, {"gigabytes": 8e-9 * size * additions}, device_memory)


def mmd(*, num: int, z_dim: int, tiled: bool) -> Contender:
    """The U-statistic with seven scales between codes and the prior."""
    from wae_jax.objective import mmd as of_codes

    keys = jax.random.split(jax.random.key(0), num)
    samples = sample_prior(keys, latent_dim=z_dim, prior_variance=1.0)
    codes = 1.1 * jax.random.normal(jax.random.key(1), (num, z_dim))
    statistic = of_codes.mmd_squared_tiled if tiled else of_codes.mmd_squared

    def run(steps: int) -> None:
        for _ in range(steps):
            statistic(codes, samples, prior_variance=1.0).block_until_ready()

    return Contender(run, device_facts(), device_memory)


def read_midi(*, paths: list[str]) -> Contender:
    """MIDI files to packed phrases, in this process as in one that the command starts; a step is one file."""
    import pathlib

    from wae_jax.data.build.formats import open_source
    from wae_jax.data.build.sources import Options
    from wae_jax.errors import SourceError

    phrases = failed = index = 0
    options = Options()

    def run(steps: int) -> None:
        nonlocal phrases, failed, index
        for _ in range(steps):
            path = pathlib.Path(paths[index % len(paths)])
            index += 1
            try:
                phrases += sum(len(chunk.rows) for chunk in open_source(path, rows=None, options=options).chunks)
            except SourceError:
                failed += 1

    started = time.perf_counter()
    run(len(paths))
    facts = {"files": len(paths), "phrases": phrases, "without_phrases": failed}
    return Contender(run, {**facts, "first_pass_s": round(time.perf_counter() - started, 3)})
