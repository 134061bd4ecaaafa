'use strict';
// The screens of the survey: the first, one for each pair, the last. The data are in the element #data.

const data = JSON.parse(byId('data').textContent);
const player = new Player({ tempo: data.tempo });
const answers = new Answers(data);

const SIDES = ['A', 'B'];
const LAST = data.pairs.length; // The screen of the last pair; screen 1 is that of the pair for practice.
const SECONDS_TO_ANSWER = 25;

const currentPair = () => answers.screen - 1;
let loaded = null; // The side whose clip is in the player.

// --- Clips and questions ------------------------------------------------------------------------------------------

const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

function makeClip(side) {
  const element = clone('clip-template');
  element.setAttribute('aria-label', `Clip ${SIDES[side]}`);
  const [play, heard, time] = ['play', 'heard', 'time'].map((name) => element.querySelector(`.${name}`));
  play.onclick = () => togglePlay(side);
  byId('clips').append(element);
  return { play, heard, time };
}

// Adds a question to the page; returns the radio buttons of its answers for each side.
function makeQuestion({ name, text }, question) {
  const element = clone('question-template');
  const title = name[0].toUpperCase() + name.slice(1);
  element.querySelector('b').textContent = title;
  element.querySelector('span').textContent = text;
  byId('overall').before(element);
  return SIDES.map((label, side) => {
    const rating = clone('rating-template');
    rating.querySelector('legend').textContent = `${title} of clip ${label}: ${text}`;
    rating.querySelector('b').textContent = label;
    element.querySelector('.ratings').append(rating);
    const inputs = [...rating.querySelectorAll('input')];
    for (const input of inputs) {
      input.name = `${name}-${label}`;
      input.onchange = () => answer((given) => { given.ratings[side][question] = Number(input.value); });
    }
    return inputs;
  });
}

const clips = SIDES.map((_, side) => makeClip(side));
const ratings = data.questions.map(makeQuestion); // radio buttons by question and side
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
  play.textContent = isPlaying ? `❚❚ Pause ${SIDES[side]}` : `▶ Play ${SIDES[side]}`;
  heard.textContent = answers.of(currentPair()).heard[side] ? '✓ heard' : 'not heard to the end';
}

// What is still to be done on this screen.
function missing() {
  const unheard = SIDES.filter((_, side) => !answers.of(currentPair()).heard[side]);
  if (unheard.length) return `Hear ${unheard.join(' and ')} to the end; then you can answer.`;
  const left = answers.numMissing(currentPair());
  return left ? `${left} of ${2 * data.questions.length + 1} questions left.` : 'All answered.';
}

// Shows everything that answering and playing change.
function showState() {
  const given = answers.of(currentPair());
  clips.forEach(showClip);
  byId('questions').disabled = !answers.isHeard(currentPair());
  ratings.forEach((sides, question) => sides.forEach((inputs, side) => {
    for (const input of inputs) input.checked = Number(input.value) === given.ratings[side][question];
  }));
  for (const input of preferences) input.checked = input.value === given.preference;
  // Screen readers read it aloud whenever it is written.
  if (byId('missing').textContent !== missing()) byId('missing').textContent = missing();
  byId('next').disabled = !answers.isComplete(currentPair());
}

function showPair() {
  const isPractice = answers.screen === 1;
  byId('pair-title').textContent = isPractice ? 'A pair for practice' : `Pair ${currentPair()} of ${LAST - 1}`;
  byId('pair-note').textContent = isPractice
    ? 'Your answers to this pair are not counted. Set the volume so that both clips are pleasant to hear.'
    : 'Hear both clips to the end, then answer.';
  byId('progress').max = LAST - 1;
  byId('progress').value = data.pairs.filter((_, pair) => pair > 0 && answers.isComplete(pair)).length;
  for (const { time } of clips) time.value = 0;
  showState();
}

function showScreen() {
  const { screen } = answers;
  byId('start').hidden = screen !== 0;
  byId('pair').hidden = screen < 1 || screen > LAST;
  byId('end').hidden = screen <= LAST;
  byId('begin').textContent = answers.isComplete(0) ? 'Continue' : 'Begin';
  if (!byId('pair').hidden) showPair();
}

function goTo(screen) {
  load(null);
  answers.screen = screen;
  byId('saved').textContent = '';
  showScreen();
  scrollTo(0, 0);
  // Screen readers and the keyboard continue from here.
  document.querySelector('section:not([hidden]) h2').focus({ preventScroll: true });
}

byId('begin').onclick = () => goTo(1);
byId('next').onclick = () => goTo(answers.screen + 1);
for (const id of ['back', 'end-back']) byId(id).onclick = () => goTo(answers.screen - 1);
byId('save').onclick = () => {
  const result = answers.result();
  const name = `survey_${result.survey}_${result.listener}`;
  saveFile(JSON.stringify(result), name, 'json', 'application/json');
  byId('saved').textContent = `Saved as ${name}.json in your browser's download folder.`;
};
byId('another').onclick = () => {
  if (!confirm('This deletes the answers from this device. Has the results file been saved?')) return;
  answers.restart();
  goTo(0);
};

const secondsOfPair = 2 * PHRASE_STEPS * stepSeconds(data.tempo) + SECONDS_TO_ANSWER;
byId('start-pairs').textContent = LAST - 1;
byId('start-minutes').textContent = Math.ceil((data.pairs.length * secondsOfPair) / 60);
byId('start-rule').textContent = data.rule;
byId('start-stored').textContent = answers.isStored
  ? 'Your answers are stored in this browser: you can close the page and return to it at any time.'
  : 'This browser stores nothing for pages like this one, so please do not close it before the end.';
showScreen();
