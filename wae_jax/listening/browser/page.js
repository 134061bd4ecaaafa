'use strict';
// The listening page; its data are in the element #data. All of its text is inserted as text, never as HTML.

const data = JSON.parse(byId('data').textContent);
const player = new Player({ tempo: data.tempo });
const darkScheme = matchMedia('(prefers-color-scheme: dark)');

// --- The phrase in the player -------------------------------------------------------------------------------------

let current = null; // {name, notes, key}, and its tempo if it has one of its own
let cards = []; // {phrase, article, canvas, play, star}, in the order of the page

const isCurrent = (card) => current !== null && card.phrase.key === current.key;

function draw(card) {
  const position = isCurrent(card) && (player.isPlaying || player.position > 0) ? player.position : null;
  drawPianoRoll(card.canvas, card.phrase.notes, { position, isDark: darkScheme.matches });
}

function showPlay(button, isPlaying, name = '') {
  button.textContent = isPlaying ? '❚❚' : '▶';
  button.setAttribute('aria-label', `${isPlaying ? 'Pause' : 'Play'}${name}`);
}

function showState() {
  for (const card of cards) {
    card.article.classList.toggle('current', isCurrent(card));
    showPlay(card.play, isCurrent(card) && player.isPlaying, ` ${card.phrase.name}`);
    draw(card);
  }
  showPlay(byId('play'), player.isPlaying);
  byId('tempo').value = Math.round(100 * player.tempo) / 100;
  byId('now').textContent = current?.name ?? 'No phrase selected';
}

function showProgress(step) {
  const beat = Math.floor(step / STEPS_PER_BEAT);
  const position = `bar ${1 + Math.floor(beat / 4)}, beat ${1 + (beat % 4)}`;
  byId('seek').value = step;
  byId('seek').setAttribute('aria-valuetext', position);
  byId('position').textContent = position;
  cards.filter(isCurrent).forEach(draw);
}

// Puts a phrase {name, notes} into the player and by default plays it, from a step, in its own tempo if it has one; a
// loop goes on with it at the next bar. The latent panel uses it too.
function openPhrase(phrase, { play = true, from = 0 } = {}) {
  current = { ...phrase, key: phrase.key ?? JSON.stringify(phrase.notes) };
  if (phrase.tempo) player.tempo = phrase.tempo;
  if (play && player.isPlaying && player.loop) {
    player.loadAtNextBar(current.notes);
  } else {
    player.load(current.notes);
    player.seek(from);
    if (play) player.play();
  }
  showState();
}

function togglePlay() {
  if (current === null && cards.length) openPhrase(cards[0].phrase);
  else if (player.isPlaying) player.pause();
  else player.play();
  showState();
}

function openNeighbour(by) {
  if (!cards.length) return;
  const index = cards.findIndex(isCurrent);
  const card = cards[index < 0 ? 0 : (index + by + cards.length) % cards.length];
  openPhrase(card.phrase, { play: player.isPlaying });
  card.article.scrollIntoView({ block: 'nearest' });
}

player.onprogress = showProgress;
player.onend = showState;

// --- Cards --------------------------------------------------------------------------------------------------------

// Of a phrase in the player, the one that is set there.
const tempoOf = (phrase) => (phrase.tempo && phrase.key !== current?.key ? phrase.tempo : player.tempo);

async function saveSound(phrase, button) {
  button.disabled = true;
  const sound = await renderPhrase(phrase.notes, { tempo: tempoOf(phrase), isHeard: (track) => player.isHeard(track) });
  saveFile(wavFile(sound), phrase.name, 'wav', 'audio/wav');
  button.disabled = false;
}

function playFrom(card, event) {
  const box = card.canvas.getBoundingClientRect();
  if (!isCurrent(card)) openPhrase(card.phrase, { play: false });
  player.seek(((event.clientX - box.left) / box.width) * PHRASE_STEPS);
  player.play();
  showState();
}

// A card of a phrase {name, notes, key}, with further buttons; `label` is shown in place of the name if there is one.
function makeCard(phrase, buttons = []) {
  const { name, notes } = phrase;
  const card = { phrase };
  const counts = describeNotes(notes);
  card.canvas = make('canvas', {
    role: 'img',
    'aria-label': `Piano-roll of ${name}: ${counts ? `notes: ${counts}` : 'silent'}`,
    title: 'Click to play from here; drag into a folder or another program as MIDI',
    onclick: (event) => playFrom(card, event),
  });
  dragAsMidi(card.canvas, () => ({ phrases: [notes], name, tempo: tempoOf(phrase) }));
  card.play = makeButton('', () => (isCurrent(card) ? togglePlay() : openPhrase(phrase)));
  card.star = makeButton('', () => toggleFavorite(phrase), { class: 'star' });
  const midi = makeButton('MIDI', () => saveMidi([notes], name, tempoOf(phrase)), {
    'aria-label': `Download ${name} as MIDI`,
  });
  const wav = makeButton('WAV', () => saveSound(phrase, wav), {
    'aria-label': `Download ${name} as WAV`,
    title: 'With the current tracks and tempo',
  });
  card.article = make(
    'article', { class: 'card', 'aria-label': name },
    make('p', { class: 'name' }, phrase.label ?? name), card.canvas,
    make('div', { class: 'row' }, card.play, card.star, midi, wav),
    ...(buttons.length ? [make('div', { class: 'row' }, ...buttons)] : []),
  );
  cards.push(card);
  return card.article;
}

// After cards were added to the page, or removed from it.
function updateCards() {
  cards = cards.filter(({ article }) => article.isConnected);
  const isBefore = (one, other) => one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING;
  cards.sort((a, b) => (isBefore(a.article, b.article) ? -1 : 1));
  showFavorites();
  showState();
}

function makeGroup({ title, phrases }, key) {
  phrases.forEach((phrase, i) => { phrase.key = `${key}/${i}`; });
  const made = phrases.map((phrase) => makeCard(phrase));
  const box = make('div', { class: phrases.length === 2 ? 'cards pair' : 'cards' }, ...made);
  return make('div', { class: 'group' }, ...(title ? [make('h3', {}, title)] : []), box);
}

function makeSection({ id, title, description, groups }) {
  return make(
    'section', { id, 'aria-labelledby': `${id}-title` },
    make('h2', { id: `${id}-title` }, title),
    make('p', {}, description),
    ...groups.map((group, g) => makeGroup(group, `${id}/${g}`)),
  );
}

// --- Favorites ---------------------------------------------------------------------------------------------------

// Stored for this page alone, so that favorites of another page do not turn up here.
const STORE = `wae_jax favorites ${data.identity}`;

function readFavorites() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return new Set(Array.isArray(stored) ? stored : []);
  } catch {
    return new Set(); // Some browsers store nothing for pages from disk.
  }
}

const favorites = readFavorites();
const favoriteCards = () => cards.filter((card) => favorites.has(card.phrase.key));

function toggleFavorite(phrase) {
  if (!favorites.delete(phrase.key)) favorites.add(phrase.key);
  try {
    localStorage.setItem(STORE, JSON.stringify([...favorites]));
  } catch {
    // Then they last as long as the page is open.
  }
  showFavorites();
}

function showFavorites() {
  for (const { star, phrase } of cards) {
    const isMarked = favorites.has(phrase.key);
    star.textContent = isMarked ? '★' : '☆';
    star.setAttribute('aria-pressed', isMarked);
    star.setAttribute('aria-label', `Favorite: ${phrase.name}`);
  }
  const marked = favoriteCards();
  byId('favorites-note').textContent = marked.length
    ? `${marked.length} marked, and stored in this browser.`
    : 'None yet. Mark a phrase with its star or with F; favorites are stored in this browser.';
  for (const id of ['favorites-midi', 'favorites-json']) byId(id).disabled = !marked.length;
  byId('favorites-cards').replaceChildren(...marked.map(({ phrase, article }) => makeButton(`▶ ${phrase.name}`, () => {
    openPhrase(phrase);
    article.scrollIntoView({ block: 'center' });
  })));
}

byId('favorites-midi').onclick = () => {
  saveMidi(favoriteCards().map((card) => card.phrase.notes), 'favorites', player.tempo);
};
byId('favorites-json').onclick = () => {
  const phrases = favoriteCards().map(({ phrase: { key, name, notes } }) => ({ key, name, notes }));
  const content = { provenance: Object.fromEntries(data.provenance), tempo: player.tempo, phrases };
  saveFile(JSON.stringify(content), 'favorites', 'json', 'application/json');
};

// --- The player bar -----------------------------------------------------------------------------------------------

const trackRows = TRACKS.map(({ name }, track) => {
  const mute = makeButton('M', () => player.setMuted(track, !player.isMuted(track)), { 'aria-label': `Mute ${name}` });
  const solo = makeButton('S', () => player.setSolo(track, !player.isSolo(track)), { 'aria-label': `Solo ${name}` });
  for (const button of [mute, solo]) button.addEventListener('click', showTracks); // after its own action
  const swatch = make('span', { class: 'swatch' });
  const label = make('span', { class: 'label', title: 'Drag into a folder or another program as MIDI' }, name);
  dragAsMidi(label, () => ({
    phrases: [(current?.notes ?? []).filter((note) => note[0] === track)],
    name: `${current?.name ?? 'empty'} ${name}`,
    tempo: player.tempo,
  }));
  const row = make('span', { class: 'track' }, swatch, label, mute, solo);
  byId('tracks').append(row);
  return { row, swatch, mute, solo };
});

function showTracks() {
  trackRows.forEach(({ row, swatch, mute, solo }, track) => {
    swatch.style.background = TRACKS[track][darkScheme.matches ? 'dark' : 'light'];
    mute.setAttribute('aria-pressed', player.isMuted(track));
    solo.setAttribute('aria-pressed', player.isSolo(track));
    row.classList.toggle('silent', !player.isHeard(track));
  });
}

function toggleLoop() {
  player.loop = !player.loop;
  byId('loop').setAttribute('aria-pressed', player.loop);
}

let midiPorts = [];

// Asks for the MIDI ports when they are wanted, since browsers ask the user then.
async function chooseSound() {
  const select = byId('sound');
  if (select.value === 'ports') {
    try {
      midiPorts = await MidiOutput.ports();
      if (!midiPorts.length) throw new Error('This computer has no MIDI port.');
      const options = midiPorts.map(({ id, name }) => make('option', { value: id }, name));
      select.replaceChildren(select.options[0], ...options);
      select.value = midiPorts[0].id;
    } catch (error) {
      select.value = '';
      byId('now').textContent = error.message || 'This page may not use MIDI ports.';
    }
  }
  const port = midiPorts.find(({ id }) => id === select.value);
  player.output = port ? new MidiOutput(port) : null;
}

byId('sound').onchange = chooseSound;
byId('play').onclick = togglePlay;
byId('previous').onclick = () => openNeighbour(-1);
byId('next').onclick = () => openNeighbour(1);
byId('loop').onclick = toggleLoop;
byId('seek').oninput = (event) => player.seek(Number(event.target.value));
byId('volume').oninput = (event) => { player.volume = Number(event.target.value) / 100; };
byId('tempo').onchange = (event) => {
  player.tempo = Math.min(Math.max(Number(event.target.value) || data.tempo, 40), 240);
  event.target.value = player.tempo;
};

const KEYS = {
  Space: togglePlay,
  ArrowLeft: () => player.seek(player.position - STEPS_PER_BEAT),
  ArrowRight: () => player.seek(player.position + STEPS_PER_BEAT),
  ArrowUp: () => openNeighbour(-1),
  ArrowDown: () => openNeighbour(1),
  Home: () => player.seek(0),
  KeyL: toggleLoop,
  KeyF: () => current && cards.some(isCurrent) && toggleFavorite(current),
};

document.addEventListener('keydown', (event) => {
  // Fields and sliders use keys themselves, buttons use Space.
  const tag = event.target.tagName;
  if (event.ctrlKey || event.altKey || event.metaKey || ['INPUT', 'SELECT', 'TEXTAREA'].includes(tag)) return;
  if (event.code === 'Space' && ['BUTTON', 'A', 'SUMMARY'].includes(tag)) return;
  const digit = /^(?:Digit|Numpad)([1-5])$/.exec(event.code);
  const action = digit ? () => trackRows[digit[1] - 1][event.shiftKey ? 'solo' : 'mute'].click() : KEYS[event.code];
  if (!action) return;
  event.preventDefault();
  action();
});

// --- The rest of the page -----------------------------------------------------------------------------------------

function makeTable({ caption, columns, rows }) {
  const head = make('tr', {}, ...columns.map((name) => make('th', { scope: 'col' }, name)));
  const lines = rows.map(([name, ...cells]) =>
    make('tr', {}, make('th', { scope: 'row' }, name), ...cells.map((cell) => make('td', {}, cell))));
  const table = make('table', {}, make('caption', {}, caption), make('thead', {}, head), make('tbody', {}, ...lines));
  return make('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table);
}

byId('title').textContent = data.title;
byId('summary').textContent = data.summary;
byId('favorites').before(...data.sections.map(makeSection));
byId('metrics').append(...data.tables.map(makeTable));
byId('metrics').hidden = !data.tables.length;
byId('provenance').querySelector('dl').append(
  ...data.provenance.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
);
if (data.panel) {
  byId('latent').hidden = false;
  const panel = new LatentPanel(byId('latent'), data.panel, { player, openPhrase });
  if (data.panel.encoder) {
    byId('songs').hidden = false;
    new Songs(byId('songs'), data.panel, { panel, makeCard, updateCards });
  }
}
byId('licences').append(...data.licences.map(({ name, text }) => make(
  'details', {}, make('summary', {}, name), make('p', { class: 'licence' }, text),
)));
const headings = document.querySelectorAll('main section:not([hidden], #keys) h2');
byId('contents').append(...Array.from(
  headings, (heading) => make('a', { href: `#${heading.parentElement.id}` }, heading.textContent),
));

showTracks();
showFavorites();
showProgress(0);
showState();
darkScheme.addEventListener('change', () => {
  showTracks();
  showState();
});
addEventListener('resize', () => cards.forEach(draw));
