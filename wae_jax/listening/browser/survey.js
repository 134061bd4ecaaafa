'use strict';
// The survey's screens: the first, one for each pair, the last. Needs player.js, downloads.js and survey_answers.js; the
// data lie in the element #data.

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const player = new Player({ tempo: data.tempo });
const answers = new Answers(data);

const NAMES = ['A', 'B'];
const LAST = data.pairs.length; // The place of the last pair: place 1 is that for practice.
const SECONDS_TO_ANSWER = 25;

const currentPair = () => answers.place - 1;
let loaded = null; // The side whose clip is in the player.

// --- Clips and questions ------------------------------------------------------------------------------------------

function clone(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

function makeClip(side) {
  const element = clone('clip-template');
  element.setAttribute('aria-label', `Clip ${NAMES[side]}`);
  const [play, heard, time] = ['play', 'heard', 'time'].map((name) => element.querySelector(`.${name}`));
  play.onclick = () => togglePlay(side);
  byId('clips').append(element);
  return { play, heard, time };
}

// A question, with the buttons of its answers for either side.
function makeQuestion({ name, asks }, question) {
  const element = clone('question-template');
  const title = name[0].toUpperCase() + name.slice(1);
  element.querySelector('b').textContent = title;
  element.querySelector('span').textContent = asks;
  byId('overall').before(element);
  return NAMES.map((of, side) => {
    const rating = clone('rating-template');
    rating.querySelector('legend').textContent = `${title} of clip ${of}: ${asks}`;
    rating.querySelector('b').textContent = of;
    element.querySelector('.ratings').append(rating);
    const inputs = [...rating.querySelectorAll('input')];
    for (const input of inputs) {
      input.name = `${name}-${of}`;
      input.onchange = () => answer((given) => { given.ratings[side][question] = Number(input.value); });
    }
    return inputs;
  });
}

const clips = NAMES.map((_, side) => makeClip(side));
const ratings = data.questions.map(makeQuestion); // The buttons of each question, side by side.
const preferences = [...byId('overall').querySelectorAll('input')];
for (const input of preferences) {
  input.onchange = () => answer((given) => { given.preference = input.value; });
}

function answer(change) {
  answers.change(currentPair(), change);
  showState();
}

// --- Playing ------------------------------------------------------------------------------------------------------

function togglePlay(side) {
  if (loaded === side && player.isPlaying) {
    player.pause();
  } else {
    if (loaded !== side) load(side);
    player.play();
  }
  showState();
}

function load(side) {
  player.stop();
  loaded = side;
  player.load(side === null ? [] : data.pairs[currentPair()][side]);
}

player.onprogress = (step) => {
  if (loaded !== null) clips[loaded].time.value = step;
};
player.onend = () => answer((given) => { given.heard[loaded] = true; });

// --- Screens ------------------------------------------------------------------------------------------------------

function showClip({ play, heard }, side) {
  const isPlaying = loaded === side && player.isPlaying;
  play.textContent = isPlaying ? `❚❚ Pause ${NAMES[side]}` : `▶ Play ${NAMES[side]}`;
  heard.textContent = answers.of(currentPair()).heard[side] ? '✓ heard' : 'not heard to the end';
}

function missing() {
  const unheard = NAMES.filter((_, side) => !answers.of(currentPair()).heard[side]);
  if (unheard.length) return `Hear ${unheard.join(' and ')} to the end; then you can answer.`;
  const left = answers.numMissing(currentPair());
  return left ? `${left} of ${2 * data.questions.length + 1} questions left.` : 'All answered.';
}

// What answering and playing change.
function showState() {
  const given = answers.of(currentPair());
  clips.forEach(showClip);
  byId('questions').disabled = !answers.isHeard(currentPair());
  ratings.forEach((sides, question) => sides.forEach((inputs, side) => {
    for (const input of inputs) input.checked = Number(input.value) === given.ratings[side][question];
  }));
  for (const input of preferences) input.checked = input.value === given.preference;
  // Said aloud where it changes, so not written again where it does not.
  if (byId('missing').textContent !== missing()) byId('missing').textContent = missing();
  byId('next').disabled = !answers.isComplete(currentPair());
}

function showPair() {
  const isPractice = answers.place === 1;
  byId('pair-title').textContent = isPractice ? 'A pair for practice' : `Pair ${currentPair()} of ${LAST - 1}`;
  byId('pair-says').textContent = isPractice
    ? 'Your answers to this pair are not counted. Set the volume so that both clips are pleasant to hear.'
    : 'Hear both clips to the end, then answer.';
  byId('progress').max = LAST - 1;
  byId('progress').value = data.pairs.filter((_, pair) => pair > 0 && answers.isComplete(pair)).length;
  for (const { time } of clips) time.value = 0;
  showState();
}

function showScreen() {
  const { place } = answers;
  byId('start').hidden = place !== 0;
  byId('pair').hidden = place < 1 || place > LAST;
  byId('end').hidden = place <= LAST;
  byId('begin').textContent = answers.isComplete(0) ? 'Go on' : 'Begin';
  if (!byId('pair').hidden) showPair();
}

function goTo(place) {
  load(null);
  answers.place = place;
  byId('saved').textContent = '';
  showScreen();
  scrollTo(0, 0);
  // Where reading begins, and the keyboard's next step.
  document.querySelector('section:not([hidden]) h2').focus({ preventScroll: true });
}

byId('begin').onclick = () => goTo(1);
byId('back').onclick = () => goTo(answers.place - 1);
byId('end-back').onclick = () => goTo(answers.place - 1);
byId('next').onclick = () => goTo(answers.place + 1);
byId('save').onclick = () => {
  const result = answers.result();
  const name = `survey_${result.survey}_${result.listener}.json`;
  saveFile(JSON.stringify(result), name, 'application/json');
  byId('saved').textContent = `Saved as ${name}, where your browser keeps downloads.`;
};
byId('another').onclick = () => {
  if (!confirm('These answers are then forgotten on this device. Has the results file been saved?')) return;
  answers.restart();
  goTo(0);
};

const secondsOfPair = 2 * PHRASE_STEPS * stepSeconds(data.tempo) + SECONDS_TO_ANSWER;
byId('start-pairs').textContent = LAST - 1;
byId('start-minutes').textContent = Math.ceil((data.pairs.length * secondsOfPair) / 60);
byId('start-rule').textContent = data.rule;
byId('start-kept').textContent = answers.isKept
  ? 'Your answers are kept in this browser: close the page and come back to it when you like.'
  : 'This browser keeps nothing of pages like this one, so please do not close it before the end.';
showScreen();
