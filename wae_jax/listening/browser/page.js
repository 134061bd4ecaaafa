'use strict';
// The listening page. Needs player.js, roll.js and downloads.js; the data lie in the element #data. Whatever comes from them is
// written as text, never as HTML.

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const player = new Player({ tempo: data.tempo });
const darkScheme = matchMedia('(prefers-color-scheme: dark)');

// An element with attributes, properties that are functions, and children that are elements or text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

// --- The phrase that is in the player ---------------------------------------------------------------------------

let current = null; // {name, notes}
const cards = []; // {phrase, article, canvas, play, star}, in the order of the page

const isCurrent = (card) => current !== null && card.phrase.key === current.key;

function draw(card) {
  const position = isCurrent(card) && (player.isPlaying || player.position > 0) ? player.position : null;
  drawRoll(card.canvas, card.phrase.notes, { position, isDark: darkScheme.matches });
}

function showState() {
  for (const card of cards) {
    const isPlaying = isCurrent(card) && player.isPlaying;
    card.article.classList.toggle('current', isCurrent(card));
    card.play.textContent = isPlaying ? '❚❚' : '▶';
    card.play.setAttribute('aria-label', `${isPlaying ? 'Pause' : 'Play'} ${card.phrase.name}`);
    draw(card);
  }
  byId('play').textContent = player.isPlaying ? '❚❚' : '▶';
  byId('play').setAttribute('aria-label', player.isPlaying ? 'Pause' : 'Play');
  byId('now').textContent = current?.name ?? 'No phrase chosen';
}

function showProgress(step) {
  byId('seek').value = step;
  const beat = Math.floor(step / STEPS_PER_BEAT);
  const place = `bar ${1 + Math.floor(beat / 4)}, beat ${1 + (beat % 4)}`;
  byId('place').textContent = place;
  byId('seek').setAttribute('aria-valuetext', place);
  for (const card of cards) if (isCurrent(card)) draw(card);
}

// Puts a phrase {name, notes} into the player, and by default plays it; for other parts of the page too.
function openPhrase(phrase, { play = true } = {}) {
  current = { ...phrase, key: phrase.key ?? JSON.stringify(phrase.notes) };
  player.load(current.notes);
  if (play) player.play();
  showState();
}

function togglePlay() {
  if (current === null && cards.length) openPhrase(cards[0].phrase);
  else if (player.isPlaying) player.pause();
  else player.play();
  showState();
}

function step(by) {
  if (!cards.length) return;
  const place = cards.findIndex(isCurrent);
  const card = cards[place < 0 ? 0 : (place + by + cards.length) % cards.length];
  openPhrase(card.phrase, { play: player.isPlaying });
  card.article.scrollIntoView({ block: 'nearest' });
}

player.onprogress = showProgress;
player.onend = showState;

// --- Cards --------------------------------------------------------------------------------------------------------

async function saveSound(phrase, button) {
  button.disabled = true;
  const sound = await renderPhrase(phrase.notes, { tempo: player.tempo, isHeard: (track) => player.isHeard(track) });
  saveFile(wavFile(sound), `${phrase.name}.wav`, 'audio/wav');
  button.disabled = false;
}

function saveMidi(phrase) {
  saveFile(midiFile([phrase.notes], { tempo: player.tempo, title: phrase.name }), `${phrase.name}.mid`, 'audio/midi');
}

function playFrom(card, event) {
  const box = card.canvas.getBoundingClientRect();
  if (!isCurrent(card)) openPhrase(card.phrase, { play: false });
  player.seek(((event.clientX - box.left) / box.width) * PHRASE_STEPS);
  player.play();
  showState();
}

function makeCard(phrase) {
  const card = { phrase };
  const counts = TRACKS.map(({ name }, track) => [name, phrase.notes.filter((note) => note[0] === track).length]);
  const described = counts.filter(([, count]) => count).map(([name, count]) => `${name} ${count}`).join(', ');
  card.canvas = make('canvas', {
    role: 'img',
    'aria-label': `Piano-roll of ${phrase.name}: ${described ? `notes: ${described}` : 'silent'}`,
    onclick: (event) => playFrom(card, event),
  });
  card.play = make('button', {
    type: 'button',
    onclick: () => {
      if (isCurrent(card)) togglePlay();
      else openPhrase(phrase);
    },
  });
  card.star = make('button', { type: 'button', class: 'star', onclick: () => toggleFavourite(phrase) }, '☆');
  const wav = make('button', { type: 'button', 'aria-label': `Download ${phrase.name} as WAV` }, 'WAV');
  wav.title = 'With the tracks and the tempo that are set now';
  wav.onclick = () => saveSound(phrase, wav);
  const midi = make(
    'button', { type: 'button', 'aria-label': `Download ${phrase.name} as MIDI`, onclick: () => saveMidi(phrase) }, 'MIDI',
  );
  card.article = make(
    'article', { class: 'card', 'aria-label': phrase.name },
    make('p', { class: 'name' }, phrase.name), card.canvas, make('div', { class: 'row' }, card.play, card.star, midi, wav),
  );
  return card;
}

function makeSection({ id, title, says, groups }) {
  const section = make('section', { id, 'aria-labelledby': `${id}-title` }, make('h2', { id: `${id}-title` }, title));
  section.append(make('p', {}, says));
  groups.forEach((group, g) => {
    const box = make('div', { class: group.phrases.length === 2 ? 'cards pair' : 'cards' });
    group.phrases.forEach((phrase, i) => {
      phrase.key = `${id}/${g}/${i}`;
      const card = makeCard(phrase);
      cards.push(card);
      box.append(card.article);
    });
    section.append(make('div', { class: 'group' }, ...(group.title ? [make('h3', {}, group.title)] : []), box));
  });
  return section;
}

// --- Favourites ---------------------------------------------------------------------------------------------------

// Kept for this page alone, so that those of another run do not turn up here.
const STORE = `wae_jax favourites ${data.identity}`;

function readFavourites() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return new Set(Array.isArray(stored) ? stored : []);
  } catch {
    return new Set(); // A browser may keep nothing for pages from disk.
  }
}

const favourites = readFavourites();
const favouriteCards = () => cards.filter((card) => favourites.has(card.phrase.key));

function toggleFavourite(phrase) {
  if (!favourites.delete(phrase.key)) favourites.add(phrase.key);
  try {
    localStorage.setItem(STORE, JSON.stringify([...favourites]));
  } catch {
    // They last as long as the page is open.
  }
  showFavourites();
}

function showFavourites() {
  for (const card of cards) {
    const isMarked = favourites.has(card.phrase.key);
    card.star.textContent = isMarked ? '★' : '☆';
    card.star.setAttribute('aria-pressed', isMarked);
    card.star.setAttribute('aria-label', `Favourite: ${card.phrase.name}`);
  }
  const chosen = favouriteCards();
  byId('favourites-note').textContent = chosen.length
    ? `${chosen.length} marked; kept in this browser.`
    : 'None yet. Mark a phrase with its star, or with F; marks are kept in this browser.';
  for (const id of ['favourites-midi', 'favourites-json']) byId(id).disabled = !chosen.length;
  byId('favourites-cards').replaceChildren(
    ...chosen.map(({ phrase, article }) =>
      make('button', { type: 'button', onclick: () => { openPhrase(phrase); article.scrollIntoView({ block: 'center' }); } },
        `▶ ${phrase.name}`),
    ),
  );
}

byId('favourites-midi').onclick = () => {
  const phrases = favouriteCards().map((card) => card.phrase.notes);
  saveFile(midiFile(phrases, { tempo: player.tempo, title: 'favourites' }), 'favourites.mid', 'audio/midi');
};
byId('favourites-json').onclick = () => {
  const phrases = favouriteCards().map(({ phrase: { key, name, notes } }) => ({ key, name, notes }));
  const content = { provenance: Object.fromEntries(data.provenance), tempo: player.tempo, phrases };
  saveFile(JSON.stringify(content), 'favourites.json', 'application/json');
};

// --- Player's bar -------------------------------------------------------------------------------------------------

const trackRows = TRACKS.map(({ name }, track) => {
  const press = (change) => () => {
    change();
    showTracks();
  };
  const mute = make('button', { type: 'button', 'aria-label': `Mute ${name}`, onclick: press(() => player.setMuted(track, !player.isMuted(track))) }, 'M');
  const solo = make('button', { type: 'button', 'aria-label': `Solo ${name}`, onclick: press(() => player.setSolo(track, !player.isSolo(track))) }, 'S');
  const swatch = make('span', { class: 'swatch' });
  const row = make('span', { class: 'track' }, swatch, make('span', { class: 'label' }, name), mute, solo);
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

byId('play').onclick = togglePlay;
byId('previous').onclick = () => step(-1);
byId('next').onclick = () => step(1);
byId('loop').onclick = toggleLoop;
byId('seek').oninput = (event) => player.seek(Number(event.target.value));
byId('volume').oninput = (event) => {
  player.volume = Number(event.target.value) / 100;
};
byId('tempo').value = data.tempo;
byId('tempo').onchange = (event) => {
  const tempo = Math.min(Math.max(Number(event.target.value) || data.tempo, 40), 240);
  event.target.value = tempo;
  player.tempo = tempo;
};

const KEYS = {
  Space: togglePlay,
  ArrowLeft: () => player.seek(player.position - STEPS_PER_BEAT),
  ArrowRight: () => player.seek(player.position + STEPS_PER_BEAT),
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  Home: () => player.seek(0),
  KeyL: toggleLoop,
  KeyF: () => current && cards.some(isCurrent) && toggleFavourite(current),
};

document.addEventListener('keydown', (event) => {
  // Fields and sliders have their own use for keys, buttons for Space.
  const tag = event.target.tagName;
  if (event.ctrlKey || event.altKey || event.metaKey || ['INPUT', 'SELECT', 'TEXTAREA'].includes(tag)) return;
  if (event.code === 'Space' && ['BUTTON', 'A', 'SUMMARY'].includes(tag)) return;
  const digit = /^(?:Digit|Numpad)([1-5])$/.exec(event.code);
  const action = digit ? () => trackRows[digit[1] - 1][event.shiftKey ? 'solo' : 'mute'].click() : KEYS[event.code];
  if (!action) return;
  event.preventDefault();
  action();
});

// --- Tables -------------------------------------------------------------------------------------------------------

function makeTable({ caption, columns, rows }) {
  const head = make('tr', {}, ...columns.map((name) => make('th', { scope: 'col' }, name)));
  const lines = rows.map(([name, ...cells]) =>
    make('tr', {}, make('th', { scope: 'row' }, name), ...cells.map((cell) => make('td', {}, cell))),
  );
  const table = make('table', {}, make('caption', {}, caption), make('thead', {}, head), make('tbody', {}, ...lines));
  return make('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table);
}

// --- All of it ----------------------------------------------------------------------------------------------------

byId('title').textContent = data.title;
byId('summary').textContent = data.summary;
for (const section of data.sections) byId('favourites').before(makeSection(section));
byId('metrics').append(...data.tables.map(makeTable));
byId('metrics').hidden = !data.tables.length;
byId('provenance').querySelector('dl').append(
  ...data.provenance.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
);
if (data.latent) {
  byId('latent').hidden = false;
  mountLatent(byId('latent'), data.latent, { player, openPhrase });
}
const places = [...data.sections.map(({ id, title }) => [id, title]), ['favourites', 'Favourites'],
  ...(data.latent ? [['latent', 'Latent space']] : []), ...(data.tables.length ? [['metrics', 'Metrics']] : []),
  ['provenance', 'Where this comes from']];
byId('contents').append(...places.map(([id, title]) => make('a', { href: `#${id}` }, title)));

showTracks();
showFavourites();
showProgress(0);
showState();
darkScheme.addEventListener('change', () => {
  showTracks();
  showState();
});
addEventListener('resize', () => cards.forEach(draw));
