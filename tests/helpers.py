"""Small configurations and data that several tests share."""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
from tensorboardX.proto.event_pb2 import Event

from wae_jax import pianoroll
from wae_jax.config import BinarizationRule, Config, flatten_config, read_config
from wae_jax.data.pipeline import Batch, replicate
from wae_jax.data.statistics import TrackStatistics
from wae_jax.models.autoencoder import Autoencoder, make_autoencoder
from wae_jax.models.networks import NETWORKS
from wae_jax.training.calls import parallel_step
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.latent_penalties import LatentPenalty, make_penalty
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.state import TrainState, create_train_state
from wae_jax.training.step import make_train_step
from wae_jax.training.workdir import load_config as config_of

ROOT = pathlib.Path(__file__).parents[1]
# A WAE-GAN as `configs/wae_gan.py` trains it and `export` writes it. Its training data, the built-in corpus, are always
# at hand, and it reconstructs phrases of the corpus that it has not seen.
CORPUS_MODEL = ROOT / "tests" / "models" / "wae_gan_corpus.npz"
DENSITIES = (0.02,) * 5
STATISTICS = TrackStatistics(DENSITIES, (0.25,) * 5, ((0.0, 0.125) + (0.25,) * 10,) * 5)


def load_config(name, variant=""):
    """The configuration of a file in `configs/`, as `--config=configs/NAME.py:VARIANT` would load it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


# A run that compiles and trains in seconds.
_TINY = {
    "batch_size": 8,
    "num_train_steps": 6,
    "log_every_steps": 2,
    "eval_every_steps": 3,
    "checkpoint_every_steps": 3,
    "prior": "normal",
    "data.num_songs": 12,
    "data.phrases_per_song": 2,
    "objective.cost.positive_weight": 1.0,
    "objective.cost.onset_weight": 0.0,
    "model.network": "tiny",
    "model.h_dim": 2,
    "model.z_dim": 4,
    "model.kernel_size": (8, 8),
    "discriminator.widths": (8,),
    "eval.num_phrases": 8,
    "eval.num_train_phrases": 0,
    "eval.num_samples": 0,
    "eval.num_shown": 0,
    "eval.num_page_samples": 0,
    "binarization": BinarizationRule(),
}
CONSTANT = {"autoencoder_optimizer.warmup_steps": 0, "autoencoder_optimizer.schedule": "constant"}


def tiny_config(penalty="gan", **changes) -> Config:
    """A run that compiles and trains in seconds; `changes` are fields, as in `changed`."""
    return changed(changed(Config(), **_TINY, objective__penalty=penalty), **changes)


def changed(config, **changes):
    """The configuration with other values of some fields.

    A field is named with dots or with `__` in their place, or by its last part where only one field ends so.
    """
    known = [*flatten_config(config.to_dict()), "binarization"]
    for name, value in changes.items():
        path = name.replace("__", ".")
        if path not in known:
            (path,) = [each for each in known if each.endswith(f".{path}")]
        config = _replaced(config, path.split("."), value)
    return config


def _replaced(spec, path, value):
    name, *rest = path
    return dataclasses.replace(spec, **{name: _replaced(getattr(spec, name), rest, value) if rest else value})


def autoencoder_of(config) -> Autoencoder:
    """The module of a configuration, with batch statistics of one device."""
    return make_autoencoder(config.model, config.refiner, dtype=config.dtype)


def penalty_of(config) -> LatentPenalty:
    """The latent penalty of a configuration."""
    return make_penalty(config.objective, config.discriminator, latent_dim=config.model.z_dim, dtype=config.dtype)


def random_rolls(num, *, density=0.02, seed=0):
    """bool [num, T, P, K], every cell on its own."""
    return np.random.default_rng(seed).random((num, *pianoroll.PHRASE_SHAPE)) < density


def phrase_of(*notes):
    """A phrase [1, T, P, K] with notes (track, pitch, onset, length)."""
    rolls = np.zeros((1, 192, 84, 5), bool)
    for track, pitch, onset, length in notes:
        rolls[0, onset : onset + length, pitch, track] = True
    return rolls


def make_batch(num, seed=0):
    """A global batch of random phrases."""
    packed = pianoroll.pack(random_rolls(num, seed=seed))
    return Batch(packed, np.arange(num, dtype=np.int32))


def shard(tree, devices):
    """Every leaf with its leading axis divided over devices: [n, ...] to [devices, n / devices, ...]."""
    return jax.tree.map(lambda leaf: np.stack(np.split(leaf, len(devices))), tree)


def run_step(step, state, batch, num_devices, **options):
    """What a step returns for a state and a global batch, on so many devices."""
    chosen = jax.local_devices()[:num_devices]
    return jax.device_get(
        parallel_step(step, devices=chosen, **options)(replicate(state, chosen), shard(batch, chosen))
    )


def run_steps(config, num_devices, num_steps, batches=None) -> Iterator[tuple[TrainState, dict[str, np.ndarray]]]:
    """The state and the metrics after each of so many training steps, on so many devices.

    The phrases are those of `batches`, packed, or random ones.
    """
    chosen = jax.local_devices()[:num_devices]
    state = replicate(create_train_state(config, track_densities=DENSITIES, num_train_steps=num_steps), chosen)
    step = parallel_step(make_train_step(config, num_train_steps=num_steps), donate_state=True, devices=chosen)
    for i in range(num_steps):
        batch = make_batch(config.batch_size, seed=i)
        if batches:
            batch = batch._replace(packed=batches[i])
        state, metrics = step(state, shard(batch, chosen))
        yield jax.device_get((state, metrics))


def train(config, num_devices, num_steps) -> tuple[TrainState, list[dict[str, np.ndarray]]]:
    """The state after so many steps on so many devices, and the metrics of each step."""
    states, history = zip(*run_steps(config, num_devices, num_steps), strict=True)
    return states[-1], list(history)


def read_metrics(workdir):
    """The rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()]


def build_small_dataset(folder: pathlib.Path, first_bars, *flags) -> pathlib.Path:
    """A dataset of ten songs of the built-in corpus, four phrases each, which begin with these bars."""
    from wae_jax import build_dataset
    from wae_jax.data.demo_corpus import make_demo_corpus

    packed, songs = make_demo_corpus(num_songs=10, phrases_per_song=4, seed=5)
    np.save(folder / "phrases.npy", pianoroll.unpack(packed))
    lines = "".join(f"{i}\t{song}\t{bar}\n" for i, (song, bar) in enumerate(zip(songs, first_bars, strict=True)))
    (folder / "phrases.tsv").write_text("phrase\tsong\tfirst_bar\n" + lines)
    assert build_dataset.main(["--input", str(folder / "phrases.npy"), "--output", str(folder / "data"), *flags]) == 0
    return folder / "data"


def read_events(logdir: pathlib.Path) -> list[list[Event]]:
    """The events of each file, by the record format: length, its checksum, the event, its checksum."""
    files = []
    for path in sorted(logdir.glob("events.out.tfevents.*")):
        content, events = path.read_bytes(), []
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
        files.append(events)
    return files


def last_state(workdir):
    """The state and the meta of a run's newest checkpoint."""
    config = read_config(config_of(workdir))
    target = create_train_state(config, track_densities=DENSITIES, num_train_steps=1)
    with Checkpointer(pathlib.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore_latest(target)


def assert_same_run(one, other):
    """Two runs wrote the same metrics and ended in the same state, bit for bit."""
    assert read_metrics(one) == read_metrics(other)
    (a, meta_a), (b, meta_b) = last_state(one), last_state(other)
    assert meta_a["step"] == meta_b["step"]
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for leaf_a, leaf_b in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (leaf_a.dtype, leaf_a.tobytes()) == (leaf_b.dtype, leaf_b.tobytes())


def start_run(
    workdir,
    *flags,
    config="wae_mmd",
    network="tiny",
    curves=True,
    num_steps=40,
    num_devices=2,
    before=(),
    **environment,
) -> subprocess.Popen:
    """The command as a user gives it, for a network and a corpus that are small.

    `before` is put in front of the command, as `nice` is; `environment` are further variables. The network of the tests
    takes a third of the others' time, but has to be made known to the process first. Without `curves` no curves.png is
    drawn, which takes longer than the steps.
    """
    tiny = f"from wae_jax.models.networks import NETWORKS, Conv, Network; NETWORKS['tiny'] = {NETWORKS['tiny']!r}"
    without = "import dataclasses; main.HOOKS = dataclasses.replace(main.HOOKS, draw_curves=lambda run: None)"
    program = f"{tiny}; from wae_jax import main; {'pass' if curves else without}; main.run()"
    program = ("-c", program) if network == "tiny" else ("-m", "wae_jax.main")
    command = [
        *(*before, sys.executable, *program, f"--config=configs/{config}.py", f"--workdir={workdir}"),
        *(f"--config.model.network={network}", "--config.model.h_dim=1", "--config.model.z_dim=3"),
        *("--config.batch_size=4", "--config.data.num_songs=12", "--config.data.phrases_per_song=2"),
        *(f"--config.num_train_steps={num_steps}", "--config.log_every_steps=3", "--config.eval_every_steps=20"),
        *("--config.checkpoint_every_steps=4", "--config.eval.num_phrases=4", "--config.eval.num_train_phrases=0"),
        *(
            "--config.eval.num_shown=0",
            "--config.eval.num_samples=0",
            "--config.eval.num_page_samples=0",
            "--config.binarization.thresholds=0.5",
            "--config.binarization.min_note_length=1",
            "--config.binarization.short_note_thresholds=0",
            "--config.binarization.track_gates=0",
            "--config.discriminator.widths=(8,)",
            *flags,
        ),
    ]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(num_devices), "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process) -> tuple[int, str]:
    """Waits for a process; its exit status and what it said."""
    try:
        output, _ = process.communicate(timeout=250)
    finally:
        process.kill()
    return process.returncode, output


def onsets(rolls):
    """The first step of every note: a cell that is on where the step before it is off (or there is none)."""
    before = np.concatenate([np.zeros_like(rolls[:, :1]), rolls[:, :-1]], axis=1)
    return rolls & ~before


def train_briefly(folder):
    """A work folder of a run of three steps, whose draws at a threshold of .03 have some cells."""
    shutil.copytree(_brief_run(), folder, dirs_exist_ok=True)
    return folder


@functools.cache
def _brief_run():
    # Where it goes with the compiled programs when all tests are done.
    folder = tempfile.mkdtemp(prefix="run_", dir=jax.config.jax_compilation_cache_dir)
    config = tiny_config(
        "mmd", num_train_steps=3, eval__num_phrases=64, data__num_songs=80, autoencoder_optimizer__learning_rate=1e-4
    )
    train_and_evaluate(config, folder)
    return folder
