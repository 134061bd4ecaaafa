"""Properties that hold for every input, tried on inputs that hypothesis makes up.

`HYPOTHESIS_PROFILE=slow` tries some fifty times as many, others each time; `-m slow` does so too.
"""

import contextlib
import functools
import io
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

import hypothesis
import jax
import jax.numpy as jnp
import mido
import numpy as np
import pypianoroll
import pytest
import symusic
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import config_flags

from tests.helpers import ROOT, onsets
from wae_jax import build_dataset, pianoroll
from wae_jax.config import (
    FIELDS,
    LONGEST_FITTED_SHORT_NOTE,
    Boolean,
    Choice,
    Integer,
    Real,
    Sequence,
    Text,
    check_config,
    flatten_config,
)
from wae_jax.data import splits
from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options
from wae_jax.errors import CheckpointError, ConfigError
from wae_jax.generation import sampling
from wae_jax.pianoroll import device
from wae_jax.render import midi, phrase_files
from wae_jax.training.checkpoint import Checkpointer

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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_more_examples():
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "slow"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=3000", "-x", __file__]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


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


@some(0.4)
@given(phrases(min_phrases=1))
def test_phrases_written_as_npz_are_read_back(rolls):
    with tempfile.TemporaryDirectory() as folder:
        phrase_files.write_phrases(folder, rolls, audio=None, pictures=False)
        source = formats.open_source(pathlib.Path(folder, "phrases.npz"))
        assert source.num_phrases == len(rolls)
        np.testing.assert_array_equal(np.concatenate([chunk.rows for chunk in source.chunks]), pianoroll.pack(rolls))


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


@some(0.5)
@given(phrases(min_phrases=1, max_phrases=1), CELLS)
def test_midi_files_are_read_back_as_phrases(rolls, cell):
    """If there are notes in the first bar and in the last, for a song lasts from its first note to its last."""
    rolls[0, [cell[0] % 48, -1 - cell[0] % 48], cell[1], cell[2]] = True
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "phrase.mid")
        midi.write_midi(path, rolls)
        for drum_length in ("full", "onset"):
            source = formats.open_source(path, options=Options(drum_length=drum_length))
            (chunk,) = source.chunks
            expected = rolls.copy()
            if drum_length == "onset":
                expected[..., 0] = onsets(rolls)[..., 0]
            np.testing.assert_array_equal(pianoroll.unpack(chunk.rows), expected)
            assert (chunk.tempos, source.notes_out_of_range) == ([100.0], 0)


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
    at_low, at_high = (sampling.binarize(x_hat, method="hard", threshold=t, seed=0) for t in (low, high))
    np.testing.assert_array_equal(at_low, x_hat > np.float32(low))
    assert not (at_high & ~at_low).any()
    assert not at_low[x_hat == 0].any()
    assert at_low[x_hat == 1].all() or low == 1


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1))
def test_bernoulli_decisions_have_their_probabilities(seed, key):
    x_hat = probabilities(seed)
    rolls = sampling.binarize(x_hat, method="bernoulli", threshold=0.5, seed=key)
    assert not rolls[x_hat == 0].any()
    assert rolls[x_hat == 1].all()
    # By groups of cells of like probability: five deviations, so that a thousand runs may fail once in a thousand.
    for low in np.arange(0, 1, 0.1):
        cells = (x_hat > low) & (x_hat <= low + 0.1)
        p = x_hat[cells].astype(np.float64)
        assert abs(rolls[cells].sum() - p.sum()) <= 5 * np.sqrt((p * (1 - p)).sum()) + 1e-6
    np.testing.assert_array_equal(
        rolls[:1], sampling.binarize(x_hat[:1], method="bernoulli", threshold=0.5, seed=key), "depends on the number"
    )


# Names of songs: any text, names of files that are no text, and few enough that songs have many phrases.
SONG_NAMES = st.one_of(st.sampled_from("abcdefgh"), st.text(max_size=4), st.binary(max_size=4).map(os.fsdecode))
ROWS = st.lists(st.tuples(SONG_NAMES, st.integers(0, 40)), max_size=60)


@some(5)
@given(ROWS, st.integers(0, 9), st.floats(0, 0.5), st.floats(0, 0.49), st.randoms(use_true_random=False))
def test_neither_a_song_nor_a_phrase_is_in_two_splits(rows, seed, valid, test, chance):
    def split(rows):
        return splits.split_by_song(
            [song for song, _ in rows],
            [phrase for _, phrase in rows],
            seed=seed,
            valid_fraction=valid,
            test_fraction=test,
        ).tolist()

    codes = split(rows)
    assert len(codes) == len(rows)
    of_song, of_phrase = {}, {}
    for (song, phrase), code in zip(rows, codes, strict=True):
        assert of_song.setdefault(song, code) == code
        assert of_phrase.setdefault(phrase, code) == code
    assert not rows or splits.TRAIN in codes
    assert valid > 0 or splits.VALID not in codes
    assert test > 0 or splits.TEST not in codes
    shuffled = chance.sample(list(zip(rows, codes, strict=True)), len(rows))
    assert split([row for row, _ in shuffled]) == [code for _, code in shuffled]


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


def numbers(kind):
    """Numbers that a field takes, its bounds among them where they belong to it."""
    low, high = max(kind.minimum, kind.above), min(kind.maximum, kind.below)
    return st.floats(
        low if math.isfinite(low) else -1e6,
        high if math.isfinite(high) else 1e6,
        exclude_min=kind.above == low,
        exclude_max=kind.below == high,
    )


def right_values(kind):
    match kind:
        case Boolean():
            return st.booleans()
        case Integer():
            return st.integers(kind.minimum, 10**6)
        case Real():
            return numbers(kind)
        case Text():
            return st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
        case Choice():
            return st.sampled_from(kind.options)
        case Sequence():
            length = {"min_size": kind.length or 0, "max_size": kind.length or 4}
            return st.lists(right_values(kind.kind), **length).map(tuple)
    raise AssertionError(f"a kind of field that this test does not know: {kind}")


def wrong_values(kind):
    """As they would be typed."""
    match kind:
        case Boolean():
            return st.sampled_from(["maybe", "2", "nan"])
        case Integer():
            return st.one_of(
                st.integers(max_value=kind.minimum - 1), st.sampled_from(["2.5", "many", "", "nan", "1e3"])
            )
        case Real():
            outside = [st.sampled_from(["nan", "inf", "-inf", "much", ""])]
            if math.isfinite(low := max(kind.minimum, kind.above)):
                outside.append(st.floats(max_value=low, exclude_max=kind.minimum == low, allow_infinity=False))
            if math.isfinite(high := min(kind.maximum, kind.below)):
                outside.append(st.floats(min_value=high, exclude_min=kind.maximum == high, allow_infinity=False))
            return st.one_of(outside)
        case Choice():
            return st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda t: t not in kind.options)
        case Sequence():
            lengths = [n for n in range(4) if n != kind.length] if kind.length else []
            wrong = st.one_of(st.integers(max_value=0), st.floats(1.1, 1.9)).map(lambda n: (n, 3))
            return st.one_of(wrong, st.sampled_from([(1,) * n for n in lengths] or ["many"]), st.just("x"))
    raise AssertionError(f"a kind of field that this test does not know: {kind}")


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

# What goes together with all that the other fields may be.
RIGHT = {name: right_values(kind) for name, kind in FIELDS.items()} | {
    "num_train_steps": st.integers(1, 10**6),
    "model.network": st.sampled_from(["alt", "new_alt", "meter"]),
    "model.h_dim": st.integers(2, 10**6),
    "penalty": st.just("gan"),
    "penalty_weight": st.floats(1e-3, 1e6),
    "encoder": st.just("gaussian"),
    "refiner.strides": st.sampled_from([(1, 1), (6, 12)]),
    "refiner.first_step": st.just(0),
    "objective.cost.kind": st.just("squared_error"),  # the one that goes with binary neurons
    "model.output_planes": st.just("cells"),  # likewise
    "binarization.min_note_length": st.integers(
        1, LONGEST_FITTED_SHORT_NOTE + 1
    ),  # of which shares of short notes are known
}


@LOADING
@given(st.fixed_dictionaries(RIGHT))
def test_every_field_takes_what_is_right_for_it(values):
    config = parse(*(f"--config.{name}={value}" for name, value in values.items()))
    check_config(config.to_dict())
    assert flatten_config(config.to_dict()) == values


@LOADING
@some(0.4)
@pytest.mark.parametrize("name", [name for name, kind in FIELDS.items() if not isinstance(kind, Text)])
@given(data=st.data())
def test_every_field_refuses_by_name_what_is_wrong(name, data):
    value = data.draw(wrong_values(FIELDS[name]))
    with pytest.raises((ConfigError, flags.IllegalFlagValueError)) as refused:
        check_config(parse(f"--config.{name}={value}").to_dict())
    assert name in str(refused.value)


@functools.cache
def good_files() -> dict[str, bytes]:
    """One input of each kind that `build_dataset` reads, small."""
    rolls = np.random.default_rng(0).random((3, *pianoroll.PHRASE_SHAPE)) < 0.01
    bars = rolls.reshape(3, 4, 48, 84, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.save(folder / "dense.npy", bars)
        np.save(folder / "floats.npy", rolls.astype(np.float16))
        for save, stem in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            save(folder / f"{stem}.npz", nonzero=np.array(np.nonzero(bars)), shape=np.array(bars.shape))
        midi.write_midi(folder / "song.mid", rolls)
        tracks = [
            pypianoroll.BinaryTrack(
                name=track.name,
                program=track.program,
                is_drum=track.is_drum,
                pianoroll=np.pad(rolls[0, :, :, k], ((0, 0), (24, 20))),
            )
            for k, track in enumerate(pianoroll.TRACKS)
        ]
        pypianoroll.Multitrack(resolution=12, tracks=tracks).save(folder / "multitrack.npz")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module", autouse=True)
def _good_files_are_there():
    """Not first within a strategy: what writes them may import a module that draws random numbers."""
    good_files()


@st.composite
def damaged_files(draw):
    """A good input with a few bytes changed, put in, taken out or cut off, often where headers are."""
    name = draw(st.sampled_from(sorted(good_files())))
    data = bytearray(good_files()[name])
    for _ in range(draw(st.integers(1, 4))):
        near = min(200, len(data))
        place = draw(
            st.one_of(st.integers(0, near), st.integers(len(data) - near, len(data)), st.integers(0, len(data)))
        )
        match draw(st.sampled_from(["flip", "set", "insert", "remove", "cut", "repeat"])):
            case "flip":
                data[place : place + 1] = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[place : place + 1])
            case "set":
                new = draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"-1"]))
                data[place : place + len(new)] = new
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "remove":
                del data[place : place + draw(st.integers(1, 50))]
            case "cut":
                del data[place:]
            case "repeat":
                data[place:place] = data[place : place + draw(st.integers(1, 100))]
    return name, bytes(data)


def build(folder, *arguments):
    """Runs `build_dataset` on a folder's inputs; the exit status, which must be told by a message if it is not 0."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        status = build_dataset.main([*arguments, "--threshold=0.5", "--output", str(folder / "set")])
    assert status == 0 or "error: " in told.getvalue()
    assert "Traceback" not in told.getvalue()
    return status


def assert_whole_or_absent(folder, status, inputs):
    """There is a whole data set after status 0, and nothing at all after status 1."""
    assert status in (0, 1)
    assert {path.name for path in folder.iterdir()} - {inputs} == ({"set"} if status == 0 else set())
    if status == 0:
        assert {path.name for path in (folder / "set").iterdir()} == {
            *("phrases.npy", "dataset.json", "index.tsv", "skipped.tsv")
        }
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert build_dataset.main(["--verify", str(folder / "set")]) == 0


@given(damaged_files().filter(lambda file: file[0] not in ("song.mid", "multitrack.npz")))
def test_damaged_arrays_are_refused_or_read_whole(file):
    name, data = file
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent)
        (folder / name).write_bytes(data)
        assert_whole_or_absent(folder, build(folder, "--input", str(folder / name)), name)


@some(0.1)
@given(st.lists(damaged_files(), min_size=20, max_size=30), st.booleans())
def test_damaged_files_in_a_folder_spoil_nothing(files, with_a_good_one):
    """Songs too, which are read in other processes; many at once, since these take seconds to start."""
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent)
        (folder / "inputs").mkdir()
        for i, (name, data) in enumerate(files):
            (folder / "inputs" / f"{i}_{name}").write_bytes(data)
        if with_a_good_one:
            (folder / "inputs" / "good.mid").write_bytes(good_files()["song.mid"])
        status = build(folder, "--input", str(folder / "inputs"), "--workers=1")
        assert_whole_or_absent(folder, status, "inputs")
        if with_a_good_one:
            assert status == 0
            told = (folder / "set" / "skipped.tsv").read_text() + (folder / "set" / "dataset.json").read_text()
            assert all(f"{i}_{name}" in told for i, (name, _) in enumerate(files))


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
                with pytest.warns(UserWarning, match="step 2, going on from step 1"):
                    restored, meta = checkpointer.restore_latest(state)
                assert meta["step"] == 1
        for leaf, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
            assert (leaf.dtype, leaf.tobytes()) == (expected.dtype, expected.tobytes())
