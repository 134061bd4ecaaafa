"""Sets against sets, on the built-in corpus."""

import numpy as np
import pytest

from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.evaluation import measure
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.metrics import music
from wae_jax.pianoroll import pack, unpack


@pytest.fixture(scope="module")
def sets():
    packed, songs = make_demo_corpus(num_songs=24, phrases_per_song=4, seed=3)
    real, training = slice(0, 32), slice(32, 96)
    splinters = unpack(packed[real])
    splinters[:, 1::2] = False
    return {
        "generated": PhraseSet(pack(splinters)),
        "reconstructed": PhraseSet(packed[real], songs[real].astype(np.int64)),
        "held_out": PhraseSet(packed[real], songs[real].astype(np.int64)),
        "training": PhraseSet(packed[training], songs[training].astype(np.int64)),
    }


@pytest.fixture(scope="module")
def measured(sets):
    return measure.measure_music(sets, seed=0)


def test_means_are_those_of_the_metrics(sets, measured):
    entry = measured["qualified_note_rate"]
    assert entry["columns"] == ["Drums", "Piano", "Guitar", "Bass", "Strings", "Pitched"]
    rates = music.qualified_note_rate(unpack(sets["held_out"].packed))
    mean = entry["sets"]["held_out"]["mean"]
    np.testing.assert_allclose(mean[:5], np.nanmean(rates, axis=0))
    # By hand: each phrase's mean over the pitched tracks that play in it.
    each = [np.mean([rate for rate in row[1:] if not np.isnan(rate)]) for row in rates]
    assert mean[5] == pytest.approx(np.mean(each))


def test_what_equals_held_out_music_does_not_differ_from_it(measured):
    for entry in measured.values():
        reconstructed = entry["sets"]["reconstructed"]
        np.testing.assert_allclose(np.nan_to_num(reconstructed["difference"]["mean"]), 0, atol=1e-12)
        np.testing.assert_allclose(np.nan_to_num(reconstructed["wasserstein_1"]), 0, atol=1e-12)


def test_splinters_are_far_from_held_out_music(measured):
    entry = measured["one_step_share"]
    generated = entry["sets"]["generated"]
    assert generated["mean"][5] == 1
    assert generated["difference"]["low"][5] > 2 * entry["floor"]["p95"][5]
    assert measured["qualified_note_rate"]["sets"]["generated"]["mean"][5] == 0


def test_the_gap_is_the_regularizers_where_reconstructions_are_right(measured):
    gap = measure.divide_quality_gap(measured)["one_step_share, Pitched"]
    assert gap["decoder_share"] == 0
    assert gap["regularizer_share"] == 1


def test_shares_of_note_lengths_add_up(sets):
    section = measure.count_note_lengths(sets)
    shares = section["sets"]["generated"]
    assert shares.shape == (6, len(section["bins"]))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[:, 0], 1)


def test_distribution_metrics(sets):
    section = measure.compare_distributions(sets, seed=0)
    assert section["phrases"] == 32
    same, splinters = section["sets"]["reconstructed"], section["sets"]["generated"]
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    assert same["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert splinters["precision"] < 0.5
    assert splinters["frechet_distance"] > section["floor"]["frechet_distance"] > 0


def test_intervals_of_recall_and_coverage_resample_songs(sets):
    assert measure.compare_distributions(sets, seed=0)["intervals"].keys() == {"generated", "reconstructed", "training"}
    # Eight phrases of each of forty songs; the others are like half of the songs.
    songs, rng = np.repeat(np.arange(40), 8), np.random.default_rng(0)
    real = rng.normal(size=(320, 3)) + 100 * (songs % 2)[:, None]
    found = measure._intervals_by_song(measure._compare_balls(real, rng.normal(size=(320, 3))), songs, 0)
    assert measure.compare_points(real, rng.normal(size=(320, 3)))["coverage"] == pytest.approx(0.5, abs=0.01)
    # The number of songs of one kind among forty is binomial, and with each song eight phrases come or go.
    reach = 1.96 * np.sqrt(0.5 * 0.5 / 40)
    np.testing.assert_allclose(found["coverage"], [0.5 - reach, 0.5 + reach], atol=0.03)
    assert 0.3 < found["recall"][0] < found["recall"][1] < 0.7


def test_few_phrases_have_no_distribution_metrics(sets):
    few = {**sets, "generated": PhraseSet(sets["generated"].packed[:5])}
    section = measure.compare_distributions(few, seed=0)
    assert section["phrases"] == 5
    assert all(np.isnan(value) for of_set in section["sets"].values() for value in of_set.values())
    assert not any(np.isnan(value) for value in section["floor"].values())


def test_one_training_phrase_scales_no_features(sets):
    one = PhraseSet(sets["training"].packed[:1])
    section = measure.compare_distributions({**sets, "training": one}, seed=0)
    assert (section["phrases"], section["dimensions"]) == (1, 0)
    assert section["sets"].keys() == {"generated", "reconstructed", "training"}
    for metrics in (*section["sets"].values(), section["floor"]):
        assert metrics.keys() == {"precision", "recall", "density", "coverage", "frechet_distance"}
        assert np.isnan(list(metrics.values())).all()


def test_halves_share_no_song():
    songs = np.repeat(np.arange(7), [5, 1, 2, 9, 3, 4, 6])
    for seed in range(20):
        one, other = measure._halves(len(songs), songs, np.random.default_rng(seed))
        assert len(one) == len(other) > 0
        assert not set(songs[one]) & set(songs[other])


def test_copies_are_found_in_any_key(sets):
    # Two generated phrases are training phrases, one of them three semitones up.
    copied = unpack(sets["training"].packed[[7, 11]])
    copied[1, :, 3:, 1:] = copied[1, :, :-3, 1:]
    copied[1, :, :3, 1:] = False
    generated = np.concatenate([sets["generated"].packed[:6], pack(copied)])
    section = measure.find_copies({**sets, "generated": PhraseSet(generated)})
    found = section["sets"]["generated"]
    assert {6, 7} <= set(found["copies"].tolist())
    np.testing.assert_allclose(found["distance"][6:], 0, atol=1e-12)
    assert (found["row"][6], found["semitones"][6]) == (7, 0)
    assert found["semitones"][7] == 3
    assert found["exact_share"] == pytest.approx(2 / 8)


def test_codes_beside_the_prior():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(300, 6)) * 2**0.5
    samples = {"normal": points}
    good = measure.measure_codes(rng.normal(size=(300, 6)) * 2**0.5, samples, songs=None, prior_variance=2.0, seed=0)
    collapsed = measure.measure_codes(0.01 * rng.normal(size=(300, 6)), samples, songs=None, prior_variance=2.0, seed=0)
    assert good["mmd"]["p_value"] > 0.01 > collapsed["mmd"]["p_value"]
    assert good["mmd"]["codes"] == 300
    songs = np.repeat(np.arange(50), 6)
    by_song = measure.measure_codes(points[::-1], samples, songs=songs, prior_variance=2.0, seed=0)
    assert by_song["mmd"]["codes"] == 50
    assert good["active"]["number"] == 6
    assert good["intrinsic_dimension"] == pytest.approx(6, abs=1.2)
    assert collapsed["active"]["number"] == 0
    assert good["jensen_shannon"]["normal"] < 0.1 < 0.6 < collapsed["jensen_shannon"]["normal"]
