"""The player of pages, in a real browser: what is heard, when, and what files hold."""

import io

import mido
import numpy as np
import pytest

from tests.listening.browsing import launched, loudest, opened
from wae_jax.listening.document import PLAYER_SCRIPTS, read_browser_file
from wae_jax.pianoroll import TRACKS
from wae_jax.render.style import TRACK_COLORS

pytestmark = pytest.mark.browser

STRINGS, BASS = 4, 3
SILENCE = 1e-3
PAD = [[STRINGS, 69, 0, 192]]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("player") / "player.html"
    scripts = "".join(f"<script>{read_browser_file(name)}</script>" for name in (*PLAYER_SCRIPTS, "midi_output.js"))
    file.write_text(f"<!doctype html><meta charset=utf-8><canvas width=300 height=100></canvas>{scripts}")
    with launched() as browser, opened(browser, file) as page:
        yield page


@pytest.fixture
def player(page):
    """A new player, `p` in the page."""
    page.evaluate("() => { globalThis.p?.stop(); globalThis.p = new Player({tempo: 120}); }")
    yield page
    page.evaluate("() => p.stop()")


def start(page, notes, num_steps=192):
    page.evaluate("([notes, steps]) => { p.load(notes, steps); p.play(); }", [notes, num_steps])


def rendered(page, notes, **options):
    """The left channel of what `renderPhrase` makes."""
    samples = page.evaluate(
        "async ([notes, o]) => Array.from((await renderPhrase(notes, o)).getChannelData(0))", [notes, options]
    )
    return np.array(samples)


def test_tracks_are_those_of_the_project(page):
    tracks = page.evaluate("() => TRACKS")
    assert [(t["name"], t["program"], t["channel"] == 9) for t in tracks] == [
        (t.name, t.program, t.is_drum) for t in TRACKS
    ]
    assert tuple(t["light"].upper() for t in tracks) == tuple(colour.upper() for colour in TRACK_COLORS)
    assert len({t["channel"] for t in tracks}) == 5


def test_it_sounds_and_moves_on_at_the_tempo(player):
    start(player, PAD)
    assert loudest(player, 400, "p") > 0.01
    before, after, seconds = player.evaluate(
        """async () => {
          const [step, time] = [p.position, performance.now()];
          await new Promise((resolve) => setTimeout(resolve, 800));
          return [step, p.position, (performance.now() - time) / 1000];
        }"""
    )
    # 120 quarter notes a minute are 24 steps a second.
    assert (after - before) / seconds == pytest.approx(24, rel=0.1)


def test_what_is_muted_or_beside_a_solo_is_silent(player):
    start(player, PAD)
    assert loudest(player, 400, "p") > 0.01
    for change, heard in (
        ("p.setMuted(4, true)", False),
        ("p.setMuted(4, false)", True),
        ("p.setSolo(3, true)", False),
        ("p.setSolo(4, true)", True),
        ("p.setSolo(3, false)", True),
        ("p.setMuted(4, true)", False),
        ("p.setMuted(4, false); p.setSolo(4, false); p.volume = 0", False),
    ):
        player.evaluate(change)
        player.wait_for_timeout(250)
        assert (loudest(player, 150, "p") > SILENCE) == heard, change


def test_a_loop_comes_round_until_it_is_ended(player):
    player.evaluate("() => { globalThis.ended = 0; p.onend = () => ended++; p.loop = true; }")
    # A second, struck at its start alone.
    start(player, [[BASS, 40, 0, 6]], 24)
    player.wait_for_timeout(2200)
    assert player.evaluate("[p.isPlaying, p.position < 24, ended]") == [True, True, 0]
    assert loudest(player, 1100, "p") > 0.01
    player.evaluate("() => { p.loop = false; }")
    player.wait_for_function("() => ended === 1", timeout=3000)
    assert player.evaluate("[p.isPlaying, p.position]") == [False, 0]
    player.wait_for_timeout(500)
    assert loudest(player, 700, "p") < SILENCE


def test_a_change_of_tempo_keeps_the_place_and_the_notes(player):
    start(player, [[BASS, 40, 0, 6], [BASS, 45, 160, 12]])
    player.wait_for_timeout(500)
    before, after = player.evaluate("() => { const step = p.position; p.tempo = 240; return [step, p.position]; }")
    assert after == pytest.approx(before, abs=1)
    # At 48 steps a second the note at 160 comes some 3 seconds later, rather than 6.
    player.wait_for_function("() => p.position > 150", timeout=4000)
    assert loudest(player, 600, "p") > 0.01


def test_pause_holds_seek_goes_and_stop_returns(player):
    start(player, PAD)
    player.wait_for_timeout(300)
    player.evaluate("p.pause()")
    held = player.evaluate("p.position")
    player.wait_for_timeout(300)
    assert held > 0
    assert player.evaluate("[p.isPlaying, p.position]") == [False, held]
    assert loudest(player, 100, "p") < SILENCE
    # In the middle of a note that is held, it sounds.
    player.evaluate("() => { p.seek(100); p.play(); }")
    assert loudest(player, 400, "p") > 0.01
    assert 100 <= player.evaluate("p.position") < 120
    player.evaluate("p.stop()")
    assert player.evaluate("[p.isPlaying, p.position]") == [False, 0]


def test_noise_is_thinned_to_what_a_machine_can_sound(page):
    generator = np.random.default_rng(0)
    notes = [
        [int(k), int(pitch), int(onset), int(length)]
        for k, pitch, onset, length in zip(
            *(generator.integers(low, high, 4000) for low, high in ((0, 5), (24, 108), (0, 48), (1, 20))), strict=True
        )
    ]
    kept = page.evaluate("(notes) => audibleNotes(notes)", notes)
    sounding = [sum(onset <= step < onset + length for _, _, onset, length in kept) for step in range(70)]
    assert max(sounding) <= 48
    assert max(sounding) > 40
    few = [[2, 60, 10, 5], [1, 50, 0, 3]]
    assert page.evaluate("(notes) => audibleNotes(notes)", few) == few[::-1]
    samples = rendered(page, notes, numSteps=48, tempo=240)
    assert np.isfinite(samples).all()
    assert 0.3 < np.abs(samples).max() <= 0.9501


@pytest.mark.parametrize("track", [1, 2, 3, 4])
@pytest.mark.parametrize("pitch", [40, 88])
def test_pitched_voices_are_in_tune(page, track, pitch):
    samples = rendered(page, [[track, pitch, 0, 48]], numSteps=48, tempo=120)[:44100]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    frequencies = np.fft.rfftfreq(8 * len(samples), 1 / 44100)
    wanted = 440 * 2 ** ((pitch - 69) / 12)
    near = (frequencies > wanted * 0.8) & (frequencies < wanted * 1.25)
    # 7 cents; the strings are three, up to 5 cents apart.
    assert frequencies[near][spectrum[near].argmax()] == pytest.approx(wanted, rel=0.004)
    assert spectrum[near].max() > 0.1 * spectrum.max()


def test_every_drum_sounds_and_silence_does_not(page):
    kinds = {pitch: page.evaluate("drumKind", pitch) for pitch in range(24, 108)}
    assert {kinds[36], kinds[38], kinds[42], kinds[45], kinds[49], kinds[60]} == {
        *("kick", "snare", "hat", "tom", "cymbal", "other")
    }
    levels = page.evaluate(
        """(pitches) => Promise.all(pitches.map(async (pitch) => {
          const sound = await renderPhrase([[0, pitch, 0, 1]], {numSteps: 6});
          const samples = sound.getChannelData(0).subarray(0, 8000);
          return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
        }))""",
        [35, 36, 37, 38, 39, 42, 46, 45, 49, 51, 24, 107],
    )
    assert min(levels) > 0.005
    assert not rendered(page, [], numSteps=6).any()


def test_a_rendered_track_that_is_not_heard_is_absent(page):
    samples = page.evaluate(
        """async () => {
          const sound = await renderPhrase([[3, 40, 0, 24]], {numSteps: 24, isHeard: (track) => track !== 3});
          return Array.from(sound.getChannelData(1));
        }"""
    )
    assert not np.any(samples)


def test_midi_of_two_phrases_in_a_row(page):
    first = [[0, 36, 0, 1], [1, 60, 0, 48], [1, 60, 48, 144], [4, 107, 191, 1]]
    second = [[1, 60, 0, 12], [3, 24, 5, 3]]
    content = bytes(page.evaluate("(p) => Array.from(midiFile(p, {tempo: 90, title: 'Zwölf'}))", [first, second]))
    file = mido.MidiFile(file=io.BytesIO(content), charset="utf-8")
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, 480, 6)
    assert file.tracks[0].name == "Zwölf"
    assert next(m.tempo for m in file.tracks[0] if m.type == "set_tempo") == round(60e6 / 90)
    found = []
    for k, track in enumerate(file.tracks[1:]):
        now, begun = 0, {}
        for message in track:
            now += message.time
            if message.type == "note_on":
                assert message.note not in begun
                begun[message.note] = now
            elif message.type == "note_off":
                onset = begun.pop(message.note)
                found.append([k, message.note, onset / 40, (now - onset) / 40])
        assert now == 2 * 192 * 40
        assert not begun
    later = [[k, pitch, onset + 192, length] for k, pitch, onset, length in second]
    assert sorted(found) == sorted(first + later)


def test_a_roll_is_drawn_where_its_notes_are(page):
    painted = """(notes) => {
      const canvas = document.querySelector('canvas');
      drawPianoRoll(canvas, notes);
      const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const columns = new Set();
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] === 0 && data[i + 1] === 0x9e && data[i + 2] === 0x73) columns.add((i / 4) % width);
      }
      return [Math.min(...columns) / width, Math.max(...columns) / width];
    }"""
    low, high = page.evaluate(painted, [[BASS, 40, 48, 96]])
    assert low == pytest.approx(0.25, abs=0.01)
    assert high == pytest.approx(0.75, abs=0.01)


QUARTERS = {pitch: [[STRINGS, pitch, step, 12] for step in range(0, 192, 12)] for pitch in (60, 72)}
# Starts a phrase in a loop with a record of all voices: the step in which each begins, and when it is cut.
LOOP = """([notes, from, tempo]) => {
  globalThis.begun = [];
  globalThis.plainStart ??= startVoice;
  startVoice = (context, inputs, note, when, seconds) => {
    const voice = plainStart(context, inputs, note, when, seconds);
    const entry = {pitch: note[1], when, cut: null, steps: seconds / stepSeconds(tempo)};
    begun.push(entry);
    return {...voice, when, cut(now) { entry.cut ??= now; voice.cut(now); }};
  };
  globalThis.p?.stop();
  globalThis.p = new Player({tempo});
  p.loop = true;
  p.load(notes);
  p.seek(from);
  p.play();
}"""


def begun(page):
    """The notes that sounded, as (pitch, quarter notes since the first)."""
    found = page.evaluate("() => begun.filter(({when, cut}) => cut === null || cut > when)")
    first = min(each["when"] for each in found)
    return sorted((round((each["when"] - first) * 4, 2), each["pitch"]) for each in found)


def test_a_loop_goes_on_with_another_phrase_at_the_next_bar(player):
    player.evaluate(LOOP, [QUARTERS[60], 6, 240])
    player.wait_for_function("() => p.position > 25")
    player.evaluate("(notes) => p.loadAtNextBar(notes)", QUARTERS[72])
    # What is changed again before the bar is never heard.
    player.evaluate("(notes) => { p.loadAtNextBar([[4, 99, 0, 192]]); p.loadAtNextBar(notes); }", QUARTERS[72])
    player.wait_for_function("() => p.position > 75")
    found = begun(player)
    pitches = [pitch for _, pitch in found]
    # The first is the rest of the note that had begun before; quarters 1, 2 and 3 of the bar, then the next bar.
    assert pitches[:4] == [60] * 4
    assert set(pitches[4:]) == {72}
    times = np.diff([time for time, _ in found])
    np.testing.assert_allclose(times[1:], 1, atol=0.02)
    assert player.evaluate("() => p.isPlaying && p.loop")


def test_the_change_at_the_end_of_a_phrase_is_in_the_next_round(player):
    player.evaluate(LOOP, [QUARTERS[60], 150, 240])
    player.evaluate("(notes) => p.loadAtNextBar(notes)", QUARTERS[72])
    player.wait_for_function("() => p.position > 25 && p.position < 100")
    found = begun(player)
    assert [pitch for _, pitch in found[:7]] == [60] * 4 + [72] * 3
    np.testing.assert_allclose(np.diff([time for time, _ in found])[1:], 1, atol=0.02)


def test_a_long_note_ends_where_the_other_phrase_begins_and_one_of_that_phrase_is_entered(player):
    player.evaluate(LOOP, [PAD, 0, 240])
    player.evaluate("() => p.loadAtNextBar([[4, 50, 24, 100]])")
    player.wait_for_function("() => p.position > 50")
    found = player.evaluate("() => begun")
    assert [each["pitch"] for each in found] == [69, 50]
    assert found[0]["cut"] == pytest.approx(found[0]["when"] + 1, abs=0.05)
    assert found[1]["when"] == pytest.approx(found[0]["cut"], abs=0.01)
    assert found[1]["steps"] == pytest.approx(24 + 100 - 48)


def test_without_a_loop_another_phrase_is_loaded_at_once(player):
    start(player, PAD)
    player.evaluate("() => p.loadAtNextBar([[4, 50, 24, 100]])")
    assert player.evaluate("() => [p.isPlaying, p.position]") == [False, 0]


# A port that notes what is sent to it, with the milliseconds since the player began.
PORT = """() => {
  globalThis.sent = [];
  globalThis.MidiPort = {send(bytes, time = performance.now()) { sent.push([time, ...bytes]); }};
}"""


def messages(page):
    return page.evaluate("() => sent.sort((a, b) => a[0] - b[0])")


def test_notes_and_clock_go_to_a_midi_port(player):
    player.evaluate(PORT)
    player.evaluate("() => { p.tempo = 240; p.output = new MidiOutput(MidiPort); p.setMuted(1, true); }")
    programs = messages(player)
    assert [each[1:] for each in programs] == [[0xC0, 0], [0xC1, 25], [0xC2, 33], [0xC3, 48]]
    player.evaluate("() => { sent.length = 0; }")
    start(player, [[0, 36, 0, 1], [3, 40, 12, 12], [1, 60, 12, 12], [4, 70, 24, 150]], 48)
    player.wait_for_function("() => !p.isPlaying")
    player.wait_for_timeout(3000)
    assert loudest(player, 100, "p") < SILENCE
    found = messages(player)
    notes = [(round((each[0] - found[0][0]) * 48 / 1000, 1), *each[1:]) for each in found if each[1] < 0xF0]
    expected = [
        (0, 0x99, 36, 100), (1, 0x89, 36, 0), (12, 0x92, 40, 100), (24, 0x82, 40, 0), (24, 0x93, 70, 100),
        (174, 0x83, 70, 0),
    ]  # fmt: skip
    assert sorted(each[1:] for each in notes) == sorted(each[1:] for each in expected)
    for each in expected[:5]:
        assert any(each[1:] == other[1:] and abs(each[0] - other[0]) < 0.3 for other in notes), each
    assert found[0][1] == 0xFA
    pulses = [each[0] for each in found if each[1] == 0xF8]
    np.testing.assert_allclose(np.diff(pulses), 1000 / 96, atol=0.01)
    assert len(pulses) == pytest.approx(96, abs=8)
    assert [each[1] for each in found if each[1] > 0xF8] == [0xFA, 0xFC]


def test_a_pause_ends_the_notes_at_a_midi_port_and_playing_continues_from_there(player):
    player.evaluate(PORT)
    player.evaluate("() => { p.output = new MidiOutput(MidiPort); sent.length = 0; }")
    start(player, [[4, 70, 0, 192], [4, 71, 190, 2]])
    player.wait_for_function("() => p.position > 30")
    player.evaluate("() => p.pause()")
    player.wait_for_timeout(100)
    kinds = [each[1:] for each in messages(player) if each[1] != 0xF8]
    assert kinds[:2] in ([[0xFA], [0x93, 70, 100]], [[0x93, 70, 100], [0xFA]])
    assert sorted(kinds[2:]) == [[0x83, 70, 0], [0xFC]]
    player.evaluate("() => { sent.length = 0; p.seek(48); p.play(); }")
    player.wait_for_timeout(150)
    kinds = [each[1:] for each in messages(player) if each[1] != 0xF8]
    assert [0xF2, 16, 0] in kinds  # sixteenth notes
    assert [0xFB] in kinds
    assert [0x93, 70, 100] in kinds  # the rest of the note that had begun
