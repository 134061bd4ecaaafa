"""Pictures of phrases: what is drawn where and in which color, and how files are replaced."""

from __future__ import annotations

import pathlib

import matplotlib.colors
import matplotlib.image
import matplotlib.pyplot
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from tests.checking import unchecked
from wae_jax.render import phrase_plots, style

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)


def silence(num_steps=192):
    return np.zeros((num_steps, 84, 5), bool)


def rgb(track):
    return tuple(round(255 * part) for part in matplotlib.colors.to_rgb(style.TRACK_COLORS[track]))


def drawn_notes(axes, track):
    """(left, right, low, high) of each note drawn in a track's colour."""
    found = []
    for collection in axes.collections:
        if not isinstance(collection, PolyCollection) or not len(collection.get_facecolor()):
            continue
        if matplotlib.colors.same_color(collection.get_facecolor()[0], style.TRACK_COLORS[track]):
            boxes = [path.get_extents() for path in collection.get_paths()]
            found += [(box.x0, box.x1, box.y0, box.y1) for box in boxes]
    return sorted(found)


@pytest.fixture
def roll():
    roll = silence()
    roll[24:36, 36, PIANO] = True
    roll[48:49, 48, PIANO] = True
    roll[0:192, 12, BASS] = True
    roll[0, 36 - 24, DRUMS] = True
    roll[12, 38 - 24, DRUMS] = True
    return roll


def test_notes_lie_where_they_sound(roll):
    (axes,) = phrase_plots.plot_phrase(roll, title="a").axes
    first, second = drawn_notes(axes, PIANO)
    assert first[:2] == (24, 36)
    assert second[:2] == (48, 49)
    # An octave is twelve rows up.
    assert second[2] - first[2] == pytest.approx(12)
    assert [note[:2] for note in drawn_notes(axes, BASS)] == [(0, 192)]
    assert drawn_notes(axes, GUITAR) == []
    kick, snare = drawn_notes(axes, DRUMS)
    assert kick[0] == 0
    assert snare[0] == 12
    assert snare[2] > kick[3]
    # Tracks are stacked in the order of TRACKS.
    assert snare[3] < first[2] < drawn_notes(axes, BASS)[0][2]


def test_labels_name_the_octaves_and_the_drums(roll):
    (axes,) = phrase_plots.plot_phrase(roll, title="A phrase").axes
    labels = {text.get_text(): text.get_position()[1] for text in axes.get_yticklabels()}
    assert {"Kick", "Snare", "Hi-hat", "Toms", "Cymbals", "Other", "C4", "C5", "C2"} <= set(labels)
    low_note, high_note = drawn_notes(axes, PIANO)
    assert low_note[2] < labels["C4"] < low_note[3]
    assert high_note[2] < labels["C5"] < high_note[3]
    kick, snare = drawn_notes(axes, DRUMS)
    assert kick[2] < labels["Kick"] < kick[3]
    assert snare[2] < labels["Snare"] < snare[3]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "3", "4"]
    assert axes.get_title(loc="left") == "A phrase"
    assert {text.get_text() for text in axes.texts} == {
        "Drums", "Piano", "Guitar\n(silent)", "Bass", "Strings\n(silent)",
    }  # fmt: skip


@pytest.mark.parametrize(("pitch", "name"), [(24, "C1"), (36, "C2"), (60, "C4"), (69, "A4"), (107, "B7")])
def test_pitch_names(pitch, name):
    assert phrase_plots.pitch_name(pitch) == name


def test_no_drum_is_in_two_families():
    pitches = [pitch for family in phrase_plots.DRUM_FAMILIES.values() for pitch in family]
    assert len(set(pitches)) == len(pitches)


def test_a_written_picture_shows_the_colours_of_the_sounding_tracks(roll, tmp_path):
    style.save_figure(phrase_plots.plot_phrase(roll, title="a"), tmp_path / "a.png")
    image = matplotlib.image.imread(tmp_path / "a.png")
    pixels = np.rint(255 * image[:, :, :3]).astype(int).reshape(-1, 3)
    counts = [int((pixels == rgb(track)).all(axis=1).sum()) for track in range(5)]
    assert counts[BASS] > 1000
    assert counts[PIANO] > 100
    # Silent tracks are named in a faint colour, and draw nothing in their own.
    assert counts[GUITAR] == 0
    assert counts[STRINGS] == 0


@pytest.mark.parametrize("num_steps", [48, 192, 480])
def test_extremes_can_be_drawn(tmp_path, num_steps):
    for name, case in (("silent", silence(num_steps)), ("full", ~silence(num_steps))):
        style.save_figure(phrase_plots.plot_phrase(case, title=name), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_grid_has_a_panel_a_phrase_with_one_scale(roll):
    high = silence()
    high[0:96, 80, STRINGS] = True
    figure = phrase_plots.plot_grid(np.stack([roll, high, silence()]), columns=2, titles=["a", "b", "c"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Drums", "Piano", "Guitar", "Bass", "Strings"]
    first, second, third = figure.axes
    assert [note[:2] for note in drawn_notes(first, PIANO)] == [(24, 36), (48, 49)]
    assert [note[:2] for note in drawn_notes(second, STRINGS)] == [(0, 96)]
    assert all(drawn_notes(third, track) == [] for track in range(5))


def test_a_grid_shows_both_of_two_tracks_in_unison():
    roll = silence()
    roll[0:48, 40, GUITAR] = True
    roll[0:48, 40, STRINGS] = True
    (axes,) = phrase_plots.plot_grid(roll[None], titles=["a"]).axes
    (guitar,) = drawn_notes(axes, GUITAR)
    (strings,) = drawn_notes(axes, STRINGS)
    assert strings[3] > guitar[3] + 0.2


def test_rolls_of_another_shape_are_refused(roll):
    with unchecked(), pytest.raises(ValueError, match="84 pitches"):
        phrase_plots.plot_phrase(roll.swapaxes(1, 2), title="")


def test_phrase_image_cell_by_cell():
    roll = np.zeros((192, 84, 5), np.float32)
    roll[5, 0, DRUMS] = 1
    roll[6, 83, STRINGS] = 1
    roll[7, 10, GUITAR] = 0.5
    image = phrase_plots.phrase_image(roll)
    assert image.dtype == np.uint8
    assert image.shape == (856, 1152, 3)

    def cell(step, pitch, track):
        top = (4 - track) * (84 + 2) + 83 - pitch
        block = image[2 * top : 2 * top + 2, 6 * step : 6 * step + 6].reshape(-1, 3)
        assert (block == block[0]).all()
        return tuple(block[0].tolist())

    assert cell(5, 0, DRUMS) == rgb(DRUMS)
    assert cell(6, 83, STRINGS) == rgb(STRINGS)
    assert cell(7, 10, GUITAR) == pytest.approx([(255 + part) / 2 for part in rgb(GUITAR)], abs=0.5)
    assert cell(5, 1, DRUMS) == (255, 255, 255)
    assert cell(6, 83, BASS) == (255, 255, 255)
    # Bar lines and the lines between tracks.
    assert cell(48, 20, PIANO) == (216, 216, 216)
    assert (image[168:172] == 216).all()


def test_phrase_image_reads_bool_like_certain_probabilities(roll):
    np.testing.assert_array_equal(phrase_plots.phrase_image(roll), phrase_plots.phrase_image(roll.astype(np.float64)))
    with unchecked(), pytest.raises(ValueError, match="84 pitches"):
        phrase_plots.phrase_image(roll[None])


def test_pictures_leave_no_global_state(roll):
    phrase_plots.plot_phrase(roll, title="a")
    phrase_plots.plot_grid(roll[None], titles=["a"])
    assert matplotlib.pyplot.get_fignums() == []


def test_a_long_title_is_cut_and_leaves_the_panels_their_width():
    """A title of 250 characters made them a third as wide."""
    widths = []
    for title in ("a", "W" * 250 + ", bars 1 to 4"):
        figure = phrase_plots.plot_phrase(silence(), title=title)
        style.figure_png(figure)
        widths.append(figure.axes[0].get_position().width)
    assert widths[1] > 0.6 * widths[0]
    shown = figure.axes[0].get_title(loc="left")
    assert shown.startswith("WWW")
    assert shown.endswith("WW, bars 1 to 4")
    assert shown.count("…") == 1


def test_characters_that_the_font_lacks_make_no_warning():
    """In tests a warning is an error."""
    assert style.figure_png(phrase_plots.plot_phrase(silence(), title="ピアノ🎹"))


def test_titles_are_printed_as_they_are(tmp_path):
    """A file's name may hold dollar signs and bytes that are not UTF-8."""
    name = "A$AP $_x_$ \udce9"
    single, grid = (
        phrase_plots.plot_phrase(silence(), title=name),
        phrase_plots.plot_grid(silence()[None], titles=[name]),
    )
    for figure in (single, grid):
        assert figure.axes[0].get_title(loc="left") == "A$AP $_x_$ \\udce9"
        style.save_figure(figure, tmp_path / "a.png")


def test_a_failed_write_leaves_the_old_picture(roll, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(self, content):
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        style.save_figure(phrase_plots.plot_phrase(roll, title="a"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
