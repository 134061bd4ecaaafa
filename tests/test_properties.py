"""Properties that hold for every input, tried on inputs that hypothesis makes up.

`HYPOTHESIS_PROFILE=slow` tries some fifty times as many, others each time; `-m slow` does so too.
"""

import dataclasses
import functools
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing
from unittest import mock

import jax
import jax.numpy as jnp
import mido
import numpy as np
import pytest
import symusic
from absl import flags
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import config_flags

from tests.helpers import ROOT
from tests.properties import CELLS, phrases, some
from wae_jax import pianoroll
from wae_jax.config import (
    LONGEST_FITTED_SHORT_NOTE,
    NUM_TRACKS,
    BinarizationRule,
    Config,
    PerTrack,
    flatten_config,
    read_config,
)
from wae_jax.config.kinds import Range, type_hints
from wae_jax.errors import CheckpointError, ConfigError
from wae_jax.generation.binarization import binarize
from wae_jax.pianoroll import device
from wae_jax.render import midi
from wae_jax.training.checkpoint import Checkpointer


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_more_examples():
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "slow"}
    files = [__file__, "tests/data/build/test_input_properties.py"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=3000", "-x", *files]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@given(phrases(), st.sampled_from([bool, np.uint8, np.int64]), CELLS)
def test_packing_loses_nothing(rolls, dtype, cell):
    packed = pianoroll.pack(rolls.astype(dtype))
    assert (packed.dtype, packed.shape) == (np.uint8, (len(rolls), 10_080))
    np.testing.assert_array_equal(pianoroll.unpack(packed), rolls)
    place = (cell[0] * 84 + cell[1]) * 5 + cell[2]
    np.testing.assert_array_equal(packed[:, place // 8] >> (7 - place % 8) & 1, rolls[:, *cell])
    np.testing.assert_array_equal(pianoroll.count_track_cells(packed), rolls.sum(axis=(1, 2)))


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_every_row_of_bytes_is_a_phrase(seed, num):
    packed = np.random.default_rng(seed).integers(0, 256, (num, 10_080), np.uint8)
    rolls = pianoroll.unpack(packed)
    np.testing.assert_array_equal(pianoroll.pack(rolls), packed)
    four = np.resize(packed, (4, 10_080)) if num else np.zeros((4, 10_080), np.uint8)
    on_device = jax.jit(device.unpack_on_device)(four)  # always of one size, to compile once
    np.testing.assert_array_equal(on_device[:num], rolls)


def cells_by_symusic(path, num_steps):
    """The rolls that symusic finds in a MIDI file of 480 ticks a quarter, by the tracks' names."""
    rolls = np.zeros((num_steps, 84, 5), int)
    for track in symusic.Score(path).tracks:
        k = pianoroll.TRACK_NAMES.index(track.name)
        assert track.is_drum == (k == 0)
        for note in track.notes:
            rolls[note.start // 40 : note.end // 40, note.pitch - 24, k] += 1
            assert note.start % 40 == note.end % 40 == 0
    return rolls


def cells_by_mido(path, num_steps):
    """The same by mido, message by message."""
    rolls = np.zeros((num_steps, 84, 5), int)
    for messages in mido.MidiFile(path).tracks:
        now, since = 0, {}
        for message in messages:
            now += message.time
            if message.type == "note_on":
                assert message.note not in since
                since[message.note] = now
            elif message.type == "note_off":
                k = pianoroll.TRACK_NAMES.index(messages.name)
                rolls[since.pop(message.note) // 40 : now // 40, message.note - 24, k] += 1
        assert not since
        assert now == num_steps * 40
    return rolls


@some(0.5)
@given(phrases(min_phrases=1, max_phrases=2), st.floats(20, 300))
def test_midi_files_hold_the_roll_that_was_written(rolls, tempo):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "phrases.mid")
        midi.write_midi(path, rolls, tempo=tempo)
        expected = rolls.reshape(-1, 84, 5)
        np.testing.assert_array_equal(cells_by_symusic(path, len(expected)), expected)
        np.testing.assert_array_equal(cells_by_mido(path, len(expected)), expected)
        assert symusic.Score(path).tempos[0].qpm == pytest.approx(tempo, rel=1e-5)


def probabilities(seed, num=2):
    """Probabilities with both ends among them, and many close to each other."""
    rng = np.random.default_rng(seed)
    values = rng.random((num, *pianoroll.PHRASE_SHAPE)).astype(np.float32) ** rng.integers(1, 5)
    values[rng.random(values.shape) < 0.1] = 0
    values[rng.random(values.shape) < 0.1] = 1
    return values


@given(st.integers(0, 2**32 - 1), st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_a_higher_threshold_leaves_fewer_cells(seed, one, other):
    x_hat = probabilities(seed)
    low, high = sorted((one, other))
    at_low, at_high = (binarize(x_hat, BinarizationRule(thresholds=(t,) * NUM_TRACKS)) for t in (low, high))
    np.testing.assert_array_equal(at_low, x_hat > np.float32(low))
    assert not (at_high & ~at_low).any()
    assert not at_low[x_hat == 0].any()
    assert at_low[x_hat == 1].all() or low == 1


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1))
def test_bernoulli_samples_have_their_probabilities(seed, key):
    x_hat = probabilities(seed)
    rolls = binarize(x_hat, BinarizationRule("bernoulli"), seed=key)
    assert not rolls[x_hat == 0].any()
    assert rolls[x_hat == 1].all()
    # By groups of cells of like probability: five deviations, so that a thousand runs may fail once in a thousand.
    for low in np.arange(0, 1, 0.1):
        cells = (x_hat > low) & (x_hat <= low + 0.1)
        p = x_hat[cells].astype(np.float64)
        assert abs(rolls[cells].sum() - p.sum()) <= 5 * np.sqrt((p * (1 - p)).sum()) + 1e-6
    np.testing.assert_array_equal(
        rolls[:1], binarize(x_hat[:1], BinarizationRule("bernoulli"), seed=key), "depends on the number"
    )


_transpose = jax.jit(device.transpose_pitched)


@given(phrases(min_phrases=2, max_phrases=2), st.lists(st.integers(-84, 84), min_size=2, max_size=2))
def test_transposition_moves_pitched_tracks_alone_and_back(rolls, semitones):
    moved = np.asarray(_transpose(rolls, jnp.array(semitones)))
    expected = np.zeros_like(rolls)
    expected[..., 0] = rolls[..., 0]
    inside = rolls.copy()
    for phrase, up in enumerate(semitones):
        for pitch in range(84):
            if 0 <= pitch + up < 84:
                expected[phrase, :, pitch + up, 1:] = rolls[phrase, :, pitch, 1:]
            else:
                inside[phrase, :, pitch, 1:] = False
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_array_equal(_transpose(moved, -jnp.array(semitones)), inside)


def fields(spec=Config, prefix=""):
    """The type of every field by its dotted name."""
    for name, hint in type_hints(spec).items():
        if dataclasses.is_dataclass(hint):
            yield from fields(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint


def bounds(hint):
    """The type of a field, whose lowest and highest number may be excluded."""
    kind, allowed = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint, Range())
    return kind, allowed, max(allowed.minimum, allowed.above), min(allowed.maximum, allowed.below)


def right_values(hint):
    if hint == PerTrack:
        return st.sampled_from(["fit", "0.5", "0.25,0.5,0.75,1,0.125"])
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        if items[-1] is not ...:
            return st.tuples(*map(right_values, items))
        return st.lists(right_values(items[0]), max_size=4).map(tuple)
    kind, allowed, low, high = bounds(hint)
    if kind is bool:
        return st.booleans()
    if kind is str:
        return st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    if kind is int:
        return st.integers(int(low), int(min(high - (allowed.below == high), 10**6)))
    return st.floats(
        low if math.isfinite(low) else -1e6,
        high if math.isfinite(high) else 1e6,
        exclude_min=allowed.above == low,
        exclude_max=allowed.below == high,
    )


def wrong_values(hint):
    """Wrong values as they would be typed."""
    if hint == PerTrack:
        return st.sampled_from(["density", "", "0.5,0.5", "nan", "1,2,3,4,x", ",".join(["0.5"] * (NUM_TRACKS + 1))])
    if typing.get_origin(hint) is typing.Literal:
        known = typing.get_args(hint)
        return st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda text: text not in known)
    if typing.get_origin(hint) is tuple:
        num = None if ... in typing.get_args(hint) else len(typing.get_args(hint))
        lengths = [n for n in range(4) if n != num] if num else []
        of_floats = bounds(typing.get_args(hint)[0])[0] is float
        wrong = st.one_of(st.integers(max_value=0), *([] if of_floats else [st.floats(1.1, 1.9)])).map(lambda n: (n, 3))
        return st.one_of(wrong, st.sampled_from([(1,) * n for n in lengths] or ["many"]), st.just("x"))
    kind, allowed, low, high = bounds(hint)
    if kind is bool:
        return st.sampled_from(["maybe", "2", "nan"])
    if kind is int:
        above = [st.integers(int(high) + (allowed.maximum == high), 2**62)] if math.isfinite(high) else []
        return st.one_of(
            st.integers(max_value=int(low) - 1), st.sampled_from(["2.5", "many", "", "nan", "1e3"]), *above
        )
    outside = [st.sampled_from(["nan", "inf", "-inf", "much", ""])]
    if math.isfinite(low):
        outside.append(st.floats(max_value=low, exclude_max=allowed.minimum == low, allow_infinity=False))
    if math.isfinite(high):
        outside.append(st.floats(min_value=high, exclude_min=allowed.maximum == high, allow_infinity=False))
    return st.one_of(outside)


def parse(*overrides):
    """What the program makes of its command line."""
    values = flags.FlagValues()
    arguments = ["main", f"--config={ROOT / 'configs' / 'wae_gan.py'}", *overrides]
    with mock.patch.object(sys, "argv", arguments):  # where ml_collections looks which fields are to be overridden
        config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
        values(arguments)
    return values.config


# ml_collections' own way of loading a file.
LOADING = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

FIELDS = dict(fields())
# Values that contradict no value of another field.
RIGHT = {name: right_values(hint) for name, hint in FIELDS.items()} | {
    "data.num_songs": st.integers(2, 2500),  # with 378 phrases each less than a million phrases
    "num_train_steps": st.integers(10, 10**6),  # more than the pretraining
    "model.h_dim": st.integers(2, 2**16),
    "objective.pretrain_steps": st.integers(0, 9),
    "objective.mmd_scales": st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=4).map(tuple),
    "objective.penalty": st.just("gan"),
    "objective.penalty_weight": st.floats(1e-3, 1e6),
    "model.encoder": st.just("gaussian"),
    "objective.cost.kind": st.just("squared_error"),  # needed by binary neurons
    "binarization.min_note_length": st.integers(1, LONGEST_FITTED_SHORT_NOTE + 1),
    "binarization.short_note_thresholds": st.sampled_from(["fit", "0", "1.5", "0,1,2,3,4"]),
}


@LOADING
@given(st.fixed_dictionaries(RIGHT))
def test_every_field_takes_right_values(values):
    config = parse(*(f"--config.{name}={value}" for name, value in values.items()))
    assert flatten_config(config.to_dict()) == values
    read = flatten_config(read_config(config).to_dict())
    assert {name: value for name, value in read.items() if FIELDS[name] != PerTrack} == {
        name: value for name, value in values.items() if FIELDS[name] != PerTrack
    }


@LOADING
@some(0.4)
@pytest.mark.parametrize("name", [name for name, hint in FIELDS.items() if hint is not str])
@given(data=st.data())
def test_every_field_refuses_wrong_values_by_name(name, data):
    value = data.draw(wrong_values(FIELDS[name]))
    with pytest.raises((ConfigError, flags.IllegalFlagValueError)) as refused:
        read_config(parse(f"--config.{name}={value}"))
    assert name in str(refused.value)


@functools.cache
def good_checkpoint() -> tuple[pathlib.Path, dict]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wae_jax_checkpoint_"))
    state = {"a": {"kernel": np.random.default_rng(0).normal(size=(40, 50)), "bias": np.zeros(3, np.float32)}}
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(1, state)
        checkpointer.save(2, state)
    return folder, state


@pytest.fixture(scope="module")
def checkpoint():
    folder, state = good_checkpoint()
    yield folder, state
    shutil.rmtree(folder)


# After a failed read, tensorstore's threads report that orbax has closed its event loop, as in test_checkpoint_damage.
@pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
@given(data=st.data())
def test_damage_to_a_checkpoint_is_noticed_or_harmless(checkpoint, data):
    good, state = checkpoint
    files = sorted(path.relative_to(good) for path in (good / "2").rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent, "checkpoints")
        shutil.copytree(good, folder)
        path = folder / data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "missing"])):
            case "flip":
                content[place] ^= 1 << data.draw(st.integers(0, 7))
                path.write_bytes(content)
            case "cut":
                path.write_bytes(content[:place])
            case "missing":
                path.unlink()
        noticed = ""
        with Checkpointer(folder, read_only=True) as checkpointer:
            try:
                restored, _ = checkpointer.restore(2, state)
            except CheckpointError as error:
                noticed = str(error)
            if noticed:
                assert str(folder / "2") in noticed
                with pytest.warns(UserWarning, match="skipped the checkpoint of step 2"):
                    restored, meta = checkpointer.restore_latest(state)
                assert meta["step"] == 1
        for leaf, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
            assert (leaf.dtype, leaf.tobytes()) == (expected.dtype, expected.tobytes())
