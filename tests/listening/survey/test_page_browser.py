"""The survey's page in a real browser: all of it answered by clicking, and the file scored."""

import json
import pathlib
import re

import numpy as np
import pytest

from tests.listening.browsing import loudest, opened
from tests.listening.survey.simulation import Listeners, make_key, simulate_results
from wae_jax import listen
from wae_jax.listening.survey.design import NOISE
from wae_jax.listening.survey.page import Survey, make_survey_page
from wae_jax.listening.survey.results import QUESTIONS, Key, read_result

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=alert(1)>{{scripts}}"
KEY = make_key(3, 1, 0, seed=1)
KEY = Key([HOSTILE, "mmd", "real music"], KEY.pairs, KEY.max_failed_checks, {"runs": HOSTILE})
# A clip takes a quarter of a second: 192 steps at 3840 quarter notes a minute.
FAST = 3840
SILENCE = 1e-3


def make_page(tempo=FAST):
    clips = [[[4, 45 + place, 0, 192], [0, 36, 0, 1]] for place in range(2 * (1 + len(KEY.pairs)))]
    return make_survey_page(Survey(KEY, list(zip(clips[::2], clips[1::2], strict=True)), 0), tempo=tempo)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "survey.html"
    path.write_text(make_page(), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, file):
    with opened(browser, file, viewport={"width": 1000, "height": 900}) as page:
        yield page


def hear(page, *sides):
    for side in sides or "AB":
        page.get_by_role("button", name=f"Play {side}").click()
        page.locator(f"article[aria-label='Clip {side}'] .heard", has_text="✓").wait_for()


def rate(page, side, ratings):
    for question, rating in zip(QUESTIONS, ratings, strict=True):
        page.get_by_role("group", name=f"{question.capitalize()} of clip {side}").get_by_label(str(rating)).check()


def prefer(page, preference):
    name = "no preference" if preference == "none" else preference
    page.get_by_role("group", name="Overall").get_by_label(name, exact=True).check()


def answer(page, preference, of_a, of_b):
    hear(page)
    rate(page, "A", of_a)
    rate(page, "B", of_b)
    prefer(page, preference)


def next_pair(page):
    page.get_by_role("button", name="Next").click()


def title(page):
    return page.locator("section:not([hidden]) h2").inner_text()


def begin(page):
    page.get_by_role("button", name="Begin", exact=True).click()


def fill(page, *given):
    """Answers the pair for practice and these, without a click, and goes to the next."""
    page.evaluate(
        """(given) => {
          given.forEach(([preference, ...ratings], pair) =>
            answers.change(pair, (answer) => Object.assign(answer, { heard: [true, true], ratings, preference })));
          goTo(given.length + 1);
        }""",
        [["none", [3] * 4, [3] * 4], *given],
    )


def saved(page, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the results file").click()
    target = folder / download.value.suggested_filename
    target.write_bytes(pathlib.Path(download.value.path()).read_bytes())
    return target


# What the listener says of each pair: never an answer twice, so that none can be mistaken for another.
GIVEN = [
    [
        ("A", "none", "B")[place % 3] if NOISE not in pair else "B" if pair[0] == NOISE else "A",
        [1 + (place + q) % 5 for q in range(4)],
        [5 - (place + 2 * q) % 5 for q in range(4)],
    ]
    for place, pair in enumerate(KEY.pairs)
]


def test_a_whole_survey_by_clicking_is_saved_and_scored(browser, file, tmp_path, capsys):
    with opened(browser, file, viewport={"width": 1000, "height": 900}) as page:
        assert title(page) == "What you will do"
        first = page.locator("#start").inner_text()
        assert "You hear 4 pairs" in first
        assert KEY.rule in first
        begin(page)
        assert title(page) == "A pair for practice"
        answer(page, "A", [1] * 4, [5] * 4)
        next_pair(page)
        for place, given in enumerate(GIVEN):
            assert title(page) == f"Pair {place + 1} of 4"
            assert page.evaluate("byId('progress').value / byId('progress').max") == place / 4
            answer(page, *given)
            next_pair(page)
        assert title(page) == "All pairs are answered. Thank you!"
        path = saved(page, tmp_path)
        assert path.name in page.locator("#saved").inner_text()
        assert re.fullmatch(rf"survey_{KEY.survey_id}_[0-9a-f]{{16}}\.json", path.name)
    result = read_result(str(path))
    assert [[a.preference, *a.ratings] for a in result.answers] == GIVEN
    assert result.key == KEY
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result.saved)
    # Whoever reads the file finds no source by accident.
    assert "mmd" not in path.read_text()
    (other,) = simulate_results(KEY, Listeners(np.zeros(3), np.full((3, 4), 3.0), slips=0.0), 1, 0)
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert listen.main(["score", *map(str, tmp_path.iterdir())]) == 0
    said = capsys.readouterr().out
    assert "listeners counted: 2; dropped by the rule: 0; files skipped: 0" in said
    assert f"{HOSTILE} : mmd" in said


def test_nothing_can_be_answered_before_both_clips_are_heard_to_the_end(browser, tmp_path):
    file = tmp_path / "slow.html"
    file.write_text(make_page(tempo=100), encoding="utf-8")
    with opened(browser, file) as page:
        begin(page)
        inputs = page.locator("#questions input")
        assert inputs.count() == 2 * 4 * 5 + 3
        assert all(each.is_disabled() for each in inputs.all())
        assert page.locator("#missing").inner_text() == "Hear A and B to the end; then you can answer."
        page.get_by_role("button", name="Play A").click()
        assert loudest(page, 500) > 0.01
        place = page.evaluate("byId('clips').querySelector('.time').value")
        assert place > 0
        page.get_by_role("button", name="Pause A").click()
        page.wait_for_timeout(200)
        assert loudest(page, 100) < SILENCE
        # It goes on where it was, and one clip stops for the other.
        page.get_by_role("button", name="Play A").click()
        assert page.evaluate("player.position") >= place
        page.get_by_role("button", name="Play B").click()
        assert page.evaluate("[player.isPlaying, loaded, player.position < 40]") == [True, 1, True]
        assert page.get_by_role("button", name="Play A").is_visible()
        # B is left before its end.
        page.get_by_role("button", name="Play A").click()
        page.evaluate(f"player.tempo = {FAST}")
        page.locator("article[aria-label='Clip A'] .heard", has_text="✓").wait_for()
        assert page.locator("#missing").inner_text() == "Hear B to the end; then you can answer."
        assert inputs.first.is_disabled()
        hear(page, "B")
        assert inputs.first.is_enabled()
        assert page.locator("#missing").inner_text() == "9 of 9 questions left."
        assert page.get_by_role("button", name="Next").is_disabled()


def test_every_question_must_be_answered(page):
    begin(page)
    hear(page)
    rate(page, "A", [1, 2, 3, 4])
    prefer(page, "B")
    rate(page, "B", [5, 4, 3, 2])
    assert page.get_by_role("button", name="Next").is_enabled()
    assert page.locator("#missing").inner_text() == "All answered."
    page.evaluate("answer((given) => { given.ratings[1][2] = null; })")
    assert page.locator("#missing").inner_text() == "1 of 9 questions left."
    assert page.get_by_role("button", name="Next").is_disabled()


def shown(page):
    """The answers on the screen, as in a results file."""
    return page.evaluate(
        """() => {
          const value = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value ?? null;
          const of = (side) => data.questions.map(({name}) => Number(value(`${name}-${side}`)));
          return [value('preference'), of('A'), of('B')];
        }"""
    )


def test_a_reload_goes_on_where_one_was(page):
    fill(page, GIVEN[0])
    hear(page)
    rate(page, "A", [5, 1, 5, 1])
    listener = page.evaluate("answers.result().listener")
    # The browser needs a moment to store them.
    page.wait_for_timeout(500)
    page.reload()
    assert title(page) == "Pair 2 of 4"
    assert shown(page) == [None, [5, 1, 5, 1], [0, 0, 0, 0]]
    assert page.locator("#missing").inner_text() == "5 of 9 questions left."
    assert page.evaluate("answers.result().listener") == listener
    page.get_by_role("button", name="Back").click()
    assert shown(page) == GIVEN[0]


def test_going_back_shows_and_changes_answers(page):
    fill(page, *GIVEN[:2])
    for _ in range(2):
        page.get_by_role("button", name="Back").click()
    assert title(page) == "Pair 1 of 4"
    assert shown(page) == GIVEN[0]
    # Heard once is heard: no need to hear it again, but one can.
    assert page.get_by_role("button", name="Next").is_enabled()
    rate(page, "B", [2, 2, 2, 2])
    prefer(page, "none")
    next_pair(page)
    assert shown(page) == GIVEN[1]
    next_pair(page)
    assert shown(page) == [None, [0] * 4, [0] * 4]
    assert page.evaluate("answers.result().answers[0]") == ["none", GIVEN[0][1], [2, 2, 2, 2]]
    for _ in range(4):
        page.get_by_role("button", name="Back").click()
    assert title(page) == "What you will do"
    page.get_by_role("button", name="Continue").click()
    assert shown(page)[0] == "none"


def test_a_clip_stops_when_one_moves_on(browser, tmp_path):
    file = tmp_path / "slow.html"
    file.write_text(make_page(tempo=100), encoding="utf-8")
    with opened(browser, file) as page:
        begin(page)
        page.get_by_role("button", name="Play A").click()
        page.wait_for_timeout(200)
        page.get_by_role("button", name="Back").click()
        page.wait_for_timeout(200)
        assert loudest(page, 100) < SILENCE
        begin(page)
        assert page.locator(".heard").all_inner_texts() == ["not heard to the end"] * 2


def test_the_clips_that_sound_are_those_of_the_pair(page):
    fill(page)
    page.evaluate(
        """() => {
          globalThis.loads = [];
          const load = player.load;
          player.load = (notes) => { loads.push(notes); load.call(player, notes); };
        }"""
    )
    hear(page, "B", "A")
    pairs = page.evaluate("data.pairs")
    assert page.evaluate("loads") == [pairs[1][1], pairs[1][0]]


def test_another_listener_begins_anew(page, tmp_path):
    fill(page, *GIVEN)
    one = read_result(str(saved(page, tmp_path)))
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Start over").click()
    assert title(page).startswith("All pairs")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start over").click()
    assert title(page) == "What you will do"
    assert page.evaluate("answers.result().listener") != one.listener
    assert page.evaluate("answers.result().answers.flat(2).every((each) => each === null)")
    begin(page)
    assert page.locator("#questions input").first.is_disabled()


def test_what_the_browser_kept_is_not_trusted(browser, file):
    good = {
        "listener": "x",
        "screen": 2,
        "answers": [{"heard": [True, True], "ratings": [[1] * 4] * 2, "preference": "A"}] * 5,
    }
    bad = [
        "{", "null", "[]", {**good, "screen": 9}, {**good, "screen": -1}, {**good, "listener": 3},
        {**good, "answers": good["answers"][1:]},
        {**good, "answers": [{"heard": [1, 1], "ratings": [[1] * 4] * 2, "preference": "A"}] * 5},
        {**good, "answers": [{"heard": [True, True], "ratings": [[1] * 3] * 2, "preference": "A"}] * 5},
        {**good, "answers": [{"heard": [True, True], "ratings": [[6] * 4] * 2, "preference": "A"}] * 5},
        {**good, "answers": [{"heard": [True, True], "ratings": [[1] * 4] * 2, "preference": "C"}] * 5},
    ]  # fmt: skip
    with opened(browser, file) as page:
        key = page.evaluate("`wae_jax survey ${data.survey}`")
        for kept, expected in [(good, "Pair 1 of 4"), *((each, "What you will do") for each in bad)]:
            text = kept if isinstance(kept, str) else json.dumps(kept)
            # Set by the page that is loaded, before its own scripts: what the one before it writes may come too late.
            page.add_init_script(f"localStorage.setItem({json.dumps(key)}, {json.dumps(text)})")
            page.reload()
            assert title(page) == expected, kept


def test_a_browser_that_keeps_nothing_says_so_and_works(browser, file):
    with browser.new_context() as context:
        context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
        page = context.new_page()
        page.goto(file.as_uri())
        assert "This browser stores nothing" in page.locator("#start").inner_text()
        fill(page)
        assert title(page) == "Pair 1 of 4"
    with opened(browser, file) as page:
        assert "Your answers are stored in this browser" in page.locator("#start").inner_text()


def test_a_pair_is_answered_with_the_keyboard_alone(page):
    keyboard = page.keyboard
    focused = "document.activeElement.textContent.trim() || document.activeElement.name"
    keyboard.press("Tab")
    assert page.evaluate(focused) == "Begin"
    keyboard.press("Enter")
    # Reading goes on at the heading of the new screen.
    assert page.evaluate(focused) == "A pair for practice"
    for side in "AB":
        keyboard.press("Tab")
        assert page.evaluate(focused).endswith(f"Play {side}")
        keyboard.press("Space")
        page.locator(f"article[aria-label='Clip {side}'] .heard", has_text="✓").wait_for()
    for _ in range(8):
        keyboard.press("Tab")
        keyboard.press("Space")
        keyboard.press("ArrowRight")
    outline = page.evaluate("getComputedStyle(document.activeElement.nextElementSibling).outlineStyle")
    assert outline == "solid"
    keyboard.press("Tab")
    keyboard.press("ArrowDown")
    assert shown(page) == ["B", [2] * 4, [2] * 4]
    keyboard.press("Tab")
    keyboard.press("Tab")
    assert page.evaluate(focused) == "Next"
    keyboard.press("Enter")
    assert title(page) == "Pair 1 of 4"


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (375, "dark")])
def test_a_phone_needs_no_scrolling_sideways(browser, file, scheme, width):
    with opened(browser, file, viewport={"width": width, "height": 700}, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        begin(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.locator(".scale label").evaluate_all(
            """(labels) => labels.map((label) => label.getBoundingClientRect())
              .map((box) => [box.width, box.height, box.right])"""
        )
        assert len(boxes) == 43
        # A finger's width and height.
        assert min(box[0] for box in boxes) >= 32
        assert min(box[1] for box in boxes) >= 44
        assert max(box[2] for box in boxes) <= width
        # The players stay in sight.
        page.locator("#next").scroll_into_view_if_needed()
        assert 0 <= page.locator("#clips").bounding_box()["y"] < 20
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades = [int(shade) for shade in re.findall(r"\d+", paper)[:3]]
        assert min(shades) > 200 if scheme == "light" else max(shades) < 60


def test_all_that_can_be_used_has_a_name(page):
    begin(page)
    hear(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, article, section, progress')].filter((element) =>
          !element.getAttribute('aria-label') && !element.getAttribute('aria-labelledby') && !element.labels?.length &&
          !element.textContent.trim() && element.getAttribute('aria-hidden') !== 'true').length"""
    )
    assert nameless == 0
    assert page.get_by_role("radio").count() == 43
    assert page.get_by_role("group", name="Rhythm of clip B: Does the rhythm fit together?").count() == 1
    names = page.get_by_role("group", name="Harmony of clip A").get_by_role("radio")
    assert names.first.evaluate("(input) => input.labels[0].textContent") == "1, not at all"


def test_names_are_never_run_or_shown(page):
    assert page.locator("img").count() == 0
    assert "onerror" not in page.content()


def test_a_script_that_is_not_the_pages_own_does_not_run(browser, tmp_path):
    file = tmp_path / "changed.html"
    file.write_text(make_page().replace("<body>", "<body><script>globalThis.intruder = 1</script>"), encoding="utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(browser, file) as page:
        assert page.evaluate("typeof globalThis.intruder") == "undefined"
