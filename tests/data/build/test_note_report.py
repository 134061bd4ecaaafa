import json

import mido
import numpy as np

from wae_jax import build_dataset, pianoroll

BAR = 4 * 480
BASS = 33
SCALE = "scale of C major and A minor"


def save_midi(path, parts, signature=None):
    """A song of bars; a part is a program and, for each bar, the pitches of its chord."""
    file = mido.MidiFile(ticks_per_beat=480)
    for channel, (program, bars) in enumerate(parts):
        track = mido.MidiTrack()
        if signature and not file.tracks:
            track.append(mido.MetaMessage("key_signature", key=signature))
        track.append(mido.Message("program_change", channel=channel, program=program))
        for pitches in bars:
            track += [mido.Message("note_on", channel=channel, note=pitch, velocity=90) for pitch in pitches]
            for i, pitch in enumerate(pitches):
                track.append(mido.Message("note_off", channel=channel, note=pitch, time=0 if i else BAR))
        file.tracks.append(track)
    file.save(path)


def cadences(tonic, bars=8, program=0):
    """Tonic, subdominant, dominant and tonic of a major key."""
    return program, [[48 + tonic + root + interval for interval in (0, 4, 7)] for root in (0, 5, 7, 0) * (bars // 4)]


def build(folder, *options):
    command = ["--input", folder, "--output", folder.parent / "set", "--overwrite", "--workers", 1, *options]
    assert build_dataset.main([str(part) for part in command]) == 0
    sources = json.loads((folder.parent / "set/dataset.json").read_text())["sources"]
    return {source["path"].rpartition("/")[2]: source for source in sources}


def index_of(folder):
    return (folder.parent / "set/index.tsv").read_text().splitlines()[1:]


def described(folder, capsys):
    capsys.readouterr()
    assert build_dataset.main(["--describe", str(folder.parent / "set")]) == 0
    return capsys.readouterr().out


def test_keys_are_recorded_and_told(tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    save_midi(folder / "default.mid", [cadences(1)], "C")
    save_midi(folder / "signed.mid", [cadences(3, program=24)], "Eb")
    save_midi(folder / "unsigned.mid", [cadences(2, program=48)])
    sources = build(folder, "--tonality", "signature")
    rejected = {"key": "C# major", "by": "estimate", "semitones": -1, "rejected_signature": "C major"}
    assert sources["default.mid"]["transposed"] == [rejected]
    signed = {"key": "Eb major", "by": "signature", "semitones": -3, "rejected_signature": None}
    assert sources["signed.mid"]["transposed"] == [signed]
    estimated = {"key": "D major", "by": "estimate", "semitones": -2, "rejected_signature": None}
    assert sources["unsigned.mid"]["transposed"] == [estimated]
    misfit = "estimated keys in place of signatures that do not fit the notes"
    line = f"transposed by: 1 signatures, 1 estimated keys, 1 {misfit}"
    assert line in capsys.readouterr().out.splitlines()
    lines = described(folder, capsys).splitlines()
    assert line in lines
    assert "estimated keys of the songs: C major 100%" in lines
    assert f"{SCALE}: 100.0% of a song on average; songs of which another scale holds over 2% more: none" in lines

    shifts = {line.split("\t")[3]: line.split("\t")[6] for line in index_of(folder)}
    assert shifts == {"music/default.mid": "-1", "music/signed.mid": "-3", "music/unsigned.mid": "-2"}
    # Signatures where they fit are the default.
    assert sources == build(folder)

    assert not any("transposed" in source for source in build(folder, "--tonality", "keep").values())
    assert {line.split("\t")[6] for line in index_of(folder)} == {"0"}
    text = described(folder, capsys)
    assert "transposed" not in text
    assert "scale of C major" not in text


def test_a_wrong_key_is_told(tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    # B flat major, whose signature of F major its notes do not contradict enough, is moved to F major.
    save_midi(folder / "moved badly.mid", [cadences(10)], "F")
    save_midi(folder / "moved well.mid", [cadences(2)], "D")
    sources = build(folder, "--tonality", "signature")
    assert [source["transposed"][0]["semitones"] for source in sources.values()] == [-5, -2]
    # Of the twelve notes of a cadence in F one is a B flat, which C major lacks.
    share = 11 / 12
    line = (
        f"{SCALE}: {(share + 1) / 2:.1%} of a song on average; songs of which another scale holds over 2% more: "
        f"1, first of all music/moved badly.mid (F major 100%, C major {share:.0%})"
    )
    assert line in described(folder, capsys).splitlines()


def test_notes_out_of_range_are_told_by_track(tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    save_midi(folder / "low.mid", [cadences(0, 16), (BASS, [[23]] * 12 + [[26]] * 4)])
    save_midi(folder / "stray.mid", [cadences(0, 16), (BASS, [[23]] + [[28]] * 15)])
    save_midi(folder / "wide.mid", [(24, [[20 + 6 * bar] for bar in range(16)])])
    lines = [
        "left out: 15 notes outside MIDI numbers 24 to 107",
        f"  {folder}/low.mid: 12 of 16 Bass notes lie outside MIDI numbers 24 to 107",
        f"  {folder}/wide.mid: 2 of 16 Guitar notes lie outside MIDI numbers 24 to 107",
    ]
    sources = build(folder)
    out = capsys.readouterr().out.splitlines()
    assert out[out.index(lines[0]) :][:3] == lines
    assert "stray.mid" not in "".join(out)
    assert sources["stray.mid"]["out_of_range"] == {"Bass": {"outside": 1, "notes": 16, "octaves": 0}}
    text = described(folder, capsys)
    assert "\n".join(lines) in text
    assert text.index("tempo: ") < text.index(lines[0])

    sources = build(folder, "--out-of-range", "fold")
    out = capsys.readouterr().out.splitlines()
    lines[0] = lines[0].replace("left out", "moved by octaves, drums left out")
    lines[1] += "; the whole track moves by +1 octaves"
    assert out[out.index(lines[0]) :][:3] == lines
    assert sources["low.mid"]["out_of_range"] == {"Bass": {"outside": 12, "notes": 16, "octaves": 1}}
    description = json.loads((tmp_path / "set/dataset.json").read_text())
    assert description["options"]["out_of_range"] == "fold"
    assert description["notes_out_of_range"] == 15
    rows = np.load(tmp_path / "set/phrases.npy")
    # B0 and D1 an octave higher; of the other song, B0 alone.
    assert (np.flatnonzero(pianoroll.unpack(rows)[..., 3].any(axis=(0, 1))) + 24).tolist() == [28, 35, 38]


def test_many_songs_out_of_range_are_told_in_few_lines(tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    for i in range(13):
        save_midi(folder / f"{i}.mid", [cadences(i % 12, 4), (BASS, [[20], [21], [30 + i], [20]])])
    assert len(build(folder, "--tonality", "keep")) == 13
    out = capsys.readouterr().out
    assert out.count("3 of 4 Bass notes lie outside") == 10
    assert "  3 more tracks have 10% of their notes or more there: see dataset.json" in out
