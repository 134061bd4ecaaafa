"""Sound fonts: reading, and the correction for symusic."""

from __future__ import annotations

import numpy as np
import pytest

from wae_jax.errors import SoundFontError
from wae_jax.render import sound_font


def test_rewriting_the_sound_font_changes_only_where_root_keys_stand():
    def read(font):
        ((name, body),) = sound_font._split(font)
        assert name == b"RIFF"
        lists = {part[:4]: part[4:] for _, part in sound_font._split(body[4:])}
        tables = dict(sound_font._split(lists.pop(b"pdta")))
        settings = np.frombuffer(tables.pop(b"igen"), "<u2").reshape(-1, 2)
        return lists, tables, settings, np.frombuffer(tables.pop(b"shdr"), sound_font._SAMPLE_HEADER)

    font = sound_font.read_font(None)
    old_lists, old_tables, old_settings, old_headers = read(font)
    new_lists, new_tables, new_settings, new_headers = read(sound_font.with_root_keys_in_headers(font))
    assert new_lists == old_lists
    assert new_tables == old_tables
    root_key, overridden = None, 0
    for (kind, amount), (new_kind, new_amount) in zip(old_settings.tolist(), new_settings.tolist(), strict=True):
        assert new_kind == kind
        if kind == 58:
            root_key = amount
        if kind != 53:
            assert new_amount == amount
            continue
        # A sample ends its zone.
        old, new = old_headers[amount], new_headers[new_amount]
        assert new["recording"] == old["recording"]
        assert new["rest"] == old["rest"]
        assert new["root_key"] == (old["root_key"] if root_key is None else root_key)
        overridden += root_key is not None
        root_key = None
    assert overridden > 100
    assert new_headers[-1] == old_headers[-1]


def test_a_pretty_midi_without_its_sound_font(monkeypatch):
    monkeypatch.setattr(sound_font, "DEFAULT_FONT", "absent.sf2")
    with pytest.raises(SoundFontError, match='pip install --force-reinstall "pretty_midi'):
        sound_font.read_font(None)


def test_what_is_no_sound_font_is_refused(tmp_path):
    with pytest.raises(SoundFontError, match="there is no sound font"):
        sound_font.read_font(str(tmp_path / "none.sf2"))
    (tmp_path / "song.sf2").write_bytes(b"MThd" + bytes(20))
    with pytest.raises(SoundFontError, match=r"song\.sf2 is no sound font; expected a SoundFont 2 file"):
        sound_font.read_font(str(tmp_path / "song.sf2"))


@pytest.mark.parametrize("kept", [12, 100, 5_000_000, 5_969_000])
def test_a_sound_font_cut_short_is_refused(kept):
    whole = sound_font.read_font(None)
    assert len(whole) > 5_969_000
    with pytest.raises(SoundFontError, match="the sound font is damaged"):
        sound_font.with_root_keys_in_headers(whole[:kept])
