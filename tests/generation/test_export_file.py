"""Exported models in one file."""

import dataclasses
import json
import zipfile

import jax
import numpy as np
import pytest

import wae_jax
from tests.decoding import small_model
from tests.helpers import STATISTICS, changed, train_briefly
from wae_jax import export
from wae_jax.errors import CheckpointError, ConfigError
from wae_jax.generation import export_file, exported
from wae_jax.generation.attributes import ATTRIBUTES
from wae_jax.generation.code_statistics import code_statistics
from wae_jax.training.learned_prior import fit_kernel_density, log_density, normal


@pytest.fixture
def model():
    return small_model()


def test_what_is_saved_is_read_back(model, tmp_path):
    digest = export_file.write_model(tmp_path / "a.npz", model)
    held = export_file.read_model(tmp_path / "a.npz")
    assert (held.step, held.digest, held.track_statistics) == (7, digest, STATISTICS)
    assert held.code_statistics.num_phrases == 9
    found, given = map(jax.tree.leaves, (held.code_statistics, model.code_statistics))
    assert len(found) == len(given)
    for array, expected in zip(found, given, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-6)
    assert held.config == model.config
    assert jax.tree.structure(held.variables) == jax.tree.structure(model.variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.variables):
        found = held.variables
        for key in path:
            found = found[key.key]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, leaf.astype(np.float16) if leaf.ndim > 1 else leaf)


def test_a_file_whose_arrays_are_of_another_model_is_refused(model, tmp_path):
    other = dataclasses.replace(model, config=changed(model.config, h_dim=2 * model.config.model.h_dim))
    export_file.write_model(tmp_path / "a.npz", other)
    with pytest.raises(CheckpointError, match="params/decoder/conv_0/kernel"):
        export_file.read_model(tmp_path / "a.npz")


def test_the_same_run_makes_the_same_bytes_and_another_step_another_digest(model, tmp_path):
    one, same, other = (
        export_file.write_model(tmp_path / name, dataclasses.replace(model, step=step))
        for name, step in (("a", 7), ("b", 7), ("c", 8))
    )
    assert one == same != other
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def rewrite(path, change):
    """Writes a file anew with other members; its checksums are right."""
    with np.load(path) as members:
        held = {name: members[name] for name in members.files}
    meta = json.loads(held["meta"].tobytes())
    change(meta, held)
    held["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **held)


KERNEL = "variables/params/decoder/conv_0/kernel"


def flip(name):
    def change(meta, held):
        held[name] = held[name].copy()
        held[name].flat[0] += 1

    return change


CHANGES = [
    (flip(KERNEL), "is damaged: its digest"),
    (flip("variables/batch_stats/encoder/norm_0/mean"), "is damaged: its digest"),
    (lambda meta, held: meta.update(step=9), "is damaged: its digest"),
    (lambda meta, held: meta["config"].update(seed=5), "is damaged: its digest"),
    (lambda meta, held: held.pop(KERNEL), "is damaged: its digest"),
    (lambda meta, held: meta.pop("digest"), "is damaged: its digest"),
    (lambda meta, held: meta.update(version=6), "is of version 6 of the format .* reads version 5"),
    (lambda meta, held: meta.update(format="wae_jax trained run", version=1), "is of version 1 .* reads version 5"),
    (lambda meta, held: meta.update(format="a song"), "is no exported model"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_changes_are_noticed(model, tmp_path, change, message):
    export_file.write_model(tmp_path / "a.npz", model)
    rewrite(tmp_path / "a.npz", lambda meta, held: None)
    export_file.read_model(tmp_path / "a.npz")
    rewrite(tmp_path / "a.npz", change)
    with pytest.raises(CheckpointError, match=message):
        export_file.read_model(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.pop("config"),
        lambda meta: meta.update(track_statistics=None),
        lambda meta: meta["track_statistics"].pop("densities"),
        lambda meta: meta["track_statistics"].update(short_note_shares=3),
        lambda meta: meta["code_statistics"].pop("num_phrases"),
    ],
)
def test_what_is_forged_with_its_digest_is_refused(model, tmp_path, change):
    def forge(meta, held):
        meta.pop("digest")
        change(meta)
        arrays = {name.removeprefix("variables/"): each for name, each in held.items() if name.startswith("variables/")}
        meta["digest"] = exported.digest_of(meta, arrays)

    export_file.write_model(tmp_path / "a.npz", model)
    rewrite(tmp_path / "a.npz", forge)
    with pytest.raises(CheckpointError, match="cannot be read: it is damaged"):
        export_file.read_model(tmp_path / "a.npz")


def test_damage_anywhere_is_one_kind_of_error(model, tmp_path):
    export_file.write_model(tmp_path / "a.npz", model)
    content = (tmp_path / "a.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    messages = []
    for place in np.linspace(0, len(content) - 1, 97).astype(int):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        damaged.write_bytes(flipped)
        try:
            held = export_file.read_model(damaged)
        except CheckpointError as error:
            messages.append(str(error))
        else:  # in what zip says of dates and the like; the content is right
            assert held.digest == export_file.read_model(tmp_path / "a.npz").digest
    assert len(messages) > 60
    assert all(str(damaged) in message for message in messages)
    for length in (0, 10, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cannot be read"):
            export_file.read_model(damaged)


def test_other_files_are_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("song.txt", "la")
    (tmp_path / "b.npz").write_text("la")
    np.save(tmp_path / "c.npy", np.zeros(3))
    for name in ("a.npz", "b.npz", "c.npy"):
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read: it is damaged, or not made by"):
            export_file.read_model(tmp_path / name)
    with pytest.raises(CheckpointError, match="there is no file"):
        export_file.read_model(tmp_path / "d.npz")


def test_variables_of_another_model_are_refused(model, tmp_path):
    other = dataclasses.replace(model, config=changed(model.config, h_dim=4))
    export_file.write_model(tmp_path / "a.npz", other)
    with pytest.raises(CheckpointError, match=r"different are .*params/decoder/conv_0/kernel"):
        export_file.read_model(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.inf, np.nan, 7e4])
def test_what_16_bits_cannot_hold_is_refused(model, tmp_path, value):
    model.variables["params"]["decoder"]["conv_0"]["kernel"][0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match="params/decoder/conv_0/kernel cannot be stored as float16"):
        export_file.write_model(tmp_path / "a.npz", model)
    assert not list(tmp_path.iterdir())


def test_a_configuration_with_other_fields_is_refused_by_name(model, tmp_path, monkeypatch):
    stored = {**model.config.to_dict(), "from_the_future": 1}
    monkeypatch.setattr(type(model.config), "to_dict", lambda config: stored)
    export_file.write_model(tmp_path / "a.npz", model)
    with pytest.raises(ConfigError, match="from_the_future"):
        export_file.read_model(tmp_path / "a.npz")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


def test_export_says_what_16_bits_change(workdir, tmp_path, capsys):
    output = tmp_path / "folder" / "model.npz"
    assert export.main([f"--workdir={workdir}", f"--output={output}", "--num=8"]) == 0
    said = capsys.readouterr().out
    run, small = wae_jax.load(workdir), wae_jax.load(output)
    assert small.digest in said
    assert small.step == run.step == 3
    codes = run.sample_codes(0, 256)
    np.testing.assert_array_equal(codes, small.sample_codes(0, 256))
    change = np.abs(run.decode(codes) - small.decode(codes)).max()
    assert 0 < change < 1e-3
    assert float(said.split("largest change of probability")[1]) == pytest.approx(change, abs=1e-5)
    assert np.array_equal(small.phrases("valid"), run.phrases("valid"))
    assert export.main([f"--workdir={workdir}", f"--output={output}"]) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    (tmp_path / "a.npz").mkdir()
    assert export.main([f"--workdir={workdir}", f"--output={tmp_path / 'a.npz'}"]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_a_file_holds_one_checkpoint(model, tmp_path):
    export_file.write_model(tmp_path / "a.npz", model)
    for checkpoint in ("best", "latest", "7"):
        assert wae_jax.load(tmp_path / "a.npz", checkpoint).step == 7
    with pytest.raises(CheckpointError, match="expected best, latest or 7"):
        wae_jax.load(tmp_path / "a.npz", "8")


def test_an_exported_model_reconstructs_music_it_has_not_seen(corpus_model):
    valid = np.asarray(corpus_model.phrases("valid")[:48])
    rolls = np.unpackbits(valid, axis=1).reshape(-1, 192, 84, 5).astype(bool)
    found = corpus_model.decode(corpus_model.encode(rolls)) > 0.5
    assert 2 * (found & rolls).sum() / (found.sum() + rolls.sum()) > 0.85


def test_a_learned_prior_travels_with_the_model(model, tmp_path):
    codes = np.random.default_rng(0).normal(size=(50, model.config.model.z_dim))
    learned = dataclasses.replace(model, kernel_density=fit_kernel_density(codes))
    export_file.write_model(tmp_path / "a.npz", learned)
    found = export_file.read_model(tmp_path / "a.npz")
    np.testing.assert_allclose(found.sample_codes(5, 20), learned.sample_codes(5, 20), atol=4e-3)  # float16
    export_file.write_model(tmp_path / "b.npz", found)
    assert (tmp_path / "b.npz").read_bytes() != (tmp_path / "a.npz").read_bytes()  # it names another source
    again = export_file.read_model(tmp_path / "b.npz").sample_codes(5, 20)
    np.testing.assert_allclose(again, found.sample_codes(5, 20), rtol=1e-6)


def test_the_learned_prior_of_codes_that_hardly_vary_keeps_its_density(model, tmp_path):
    codes = 1e-4 * np.random.default_rng(0).normal(size=(50, model.config.model.z_dim))
    codes[:, 1] = 0.0
    density = fit_kernel_density(codes)
    assert np.diag(density.factor).astype(np.float16).min() == 0
    export_file.write_model(tmp_path / "a.npz", dataclasses.replace(model, kernel_density=density))
    found = export_file.read_model(tmp_path / "a.npz").kernel_density
    np.testing.assert_allclose(found.factor, density.factor, rtol=1e-6)
    np.testing.assert_allclose(log_density(found, found.centers).mean(), log_density(density, codes).mean(), rtol=0.01)


def test_a_learned_prior_of_another_size_is_refused(model, tmp_path):
    export_file.write_model(tmp_path / "a.npz", dataclasses.replace(model, kernel_density=normal(7, 1.0)))
    with pytest.raises(CheckpointError, match=r"has a learned prior of shapes .*'centers': \(1, 7\)"):
        export_file.read_model(tmp_path / "a.npz")


def test_statistics_of_codes_of_another_size_or_of_other_attributes_are_refused(model, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    other = code_statistics(rng.normal(size=(9, 7)), rng.normal(size=(9, len(ATTRIBUTES))))
    export_file.write_model(tmp_path / "a.npz", dataclasses.replace(model, code_statistics=other))
    with pytest.raises(CheckpointError, match=r"has statistics of codes of shapes .*'mean': \(7,\)"):
        export_file.read_model(tmp_path / "a.npz")
    export_file.write_model(tmp_path / "b.npz", model)
    monkeypatch.setattr(exported, "ATTRIBUTES", dict.fromkeys(("density", "tempo")))
    with pytest.raises(CheckpointError, match=r"the attributes density, polyphony.*; expected density, tempo: export"):
        export_file.read_model(tmp_path / "b.npz")
