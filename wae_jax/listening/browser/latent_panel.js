'use strict';
// The part of a page that explores a latent space. Needs elements.js, player.js, piano_roll.js, downloads.js,
// binarization.js, transposition.js, networks.js, latent_codes.js, latent_axes.js and panel_state.js; the model is the
// data of latent_panel.py.
//
// A phrase of the panel is {code, name, keyShift, ownTempo}: its music is that of the code, moved up by keyShift
// semitones out of C major or A minor; the tempo of a song that it is from, or null. It is replaced, never changed.

class LatentPanel {
  static #REACH = 4; // standard deviations that a slider goes in either direction
  static #MAX_THRESHOLD = 0.99;
  static #MAX_SEED = 2 ** 32 - 1;
  static #PAUSE = 150; // milliseconds that a slider rests before its phrase is played

  #model;
  #player;
  #openPhrase;
  #decoder;
  #axes; // of attributes, then principal components
  #scheme = matchMedia('(prefers-color-scheme: dark)');
  #phrase;
  #seed = 1;
  #kept = { A: null, B: null };
  #thresholds;
  #decoded = {}; // {code, probabilities} of the last code decoded
  #notes = [];
  #milliseconds = 0;
  #frame = 0;
  #timer = 0;
  #parts;

  // Fills a section. `openPhrase({name, notes}, {play, from})` puts a phrase into the shared player and by default
  // plays it, from a step.
  constructor(section, model, { player, openPhrase }) {
    this.#model = model;
    this.#player = player;
    this.#openPhrase = openPhrase;
    this.#decoder = new Decoder(model);
    this.#axes = [
      ...model.attributes.map((attribute) => LatentAxis.ofAttribute(attribute, model.mean)),
      ...model.directions.map((direction, i) => LatentAxis.ofComponent(direction, i, model.mean)),
    ];
    this.#thresholds = [...model.rule.thresholds];
    this.#parts = this.#build(section);
    this.#sample(1);
    this.#show();
    this.#showSlots();
    // What a link shows is far down the page, below sections that are made after this.
    if (this.#openLink()) requestAnimationFrame(() => this.#showTitle());
    addEventListener('hashchange', () => { if (this.#openLink()) this.#showTitle(); });
    this.#scheme.addEventListener('change', () => this.#draw());
    addEventListener('resize', () => this.#draw());
  }

  // The content of the panel, as in panel_state.js, and its notes.
  get state() {
    return {
      model: this.#model.digest, seed: this.#seed, ...this.#phrase, code: [...this.#phrase.code],
      thresholds: [...this.#thresholds], kept: { ...this.#kept }, tempo: this.#player.tempo, notes: this.#notes,
    };
  }

  // --- Codes ------------------------------------------------------------------------------------------------------

  // Shows a phrase and plays it.
  open(phrase) {
    this.#jump(() => this.#take(phrase));
    this.#showTitle();
  }

  keep(slot, phrase) {
    this.#kept[slot] = phrase;
    this.#showSlots();
  }

  #take(phrase) {
    this.#phrase = phrase;
    if (phrase.ownTempo !== null) this.#player.tempo = phrase.ownTempo;
  }

  #sample(seed) {
    this.#seed = seed;
    const code = sampleCode(seed, this.#model);
    this.#phrase = { code, name: `New sample ${seed}`, keyShift: 0, ownTempo: null };
  }

  #moveTo(axis, position) {
    const { code, name } = this.#phrase;
    const moved = name.endsWith(', moved') ? name : `${name}, moved`;
    this.#phrase = { ...this.#phrase, code: axis.moved(code, position), name: moved };
  }

  // In the key and tempo of A.
  #goHalfway() {
    const { A, B } = this.#kept;
    this.#take({ ...A, code: halfwayCode(A.code, B.code), name: 'Halfway between A and B' });
  }

  // --- Links and files --------------------------------------------------------------------------------------------

  #stateToKeep() {
    const { notes, ...state } = this.state; // which are decoded again
    return state;
  }

  // Shows the state in a text, or says why it cannot.
  #open(text) {
    let state;
    try {
      state = PanelState.parse(text, this.#model);
    } catch (error) {
      this.#parts.message.textContent = error.message;
      return;
    }
    const { code, name, keyShift, ownTempo } = state;
    this.#phrase = { code, name, keyShift, ownTempo };
    ({ seed: this.#seed, thresholds: this.#thresholds, kept: this.#kept } = state);
    this.#player.tempo = state.tempo;
    this.#parts.message.textContent = 'Opened.';
    this.#showSlots();
    this.#show();
    this.#openPhrase({ name: this.#phrase.name, notes: this.#notes }, { play: false });
  }

  // Returns whether there is a state in the page's link.
  #openLink() {
    const text = PanelState.fromLink(location.hash);
    if (text !== null) this.#open(text);
    return text !== null;
  }

  async #copyLink() {
    history.replaceState(null, '', PanelState.toLink(this.#stateToKeep()));
    try {
      await navigator.clipboard.writeText(location.href);
      this.#parts.message.textContent = 'Copied. Whoever has this page can open the link.';
    } catch {
      // Browsers may refuse that for pages from disk.
      this.#parts.message.textContent = 'The link is in the address bar, for whoever has this page.';
    }
  }

  // --- From codes to phrases --------------------------------------------------------------------------------------

  #update() {
    const start = performance.now();
    const { code, keyShift } = this.#phrase;
    // New thresholds alone need no decoding.
    if (this.#decoded.code !== code) this.#decoded = { code, probabilities: this.#decoder.decode(code) };
    const { rule, shape, lowest_pitch: lowestPitch } = this.#model;
    // A lower threshold lowers the gate of the track too.
    const gates = rule.track_gates.map((gate, k) => (gate * this.#thresholds[k]) / (rule.thresholds[k] || 1));
    const changed = { ...rule, thresholds: this.#thresholds, track_gates: gates };
    const notes = findNotes(this.#decoded.probabilities, changed, shape, lowestPitch);
    this.#notes = transposeNotes(notes, keyShift, { pitches: shape[1], lowestPitch });
    this.#milliseconds = performance.now() - start;
  }

  // Changes the code and plays it from the start.
  #jump(change) {
    change();
    this.#play(0);
  }

  // Follows a moving slider: the picture at once, the sound when it rests, from the current position.
  #slide(change) {
    change();
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#show());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#play(this.#player.isPlaying ? this.#player.position : 0);
    }, LatentPanel.#PAUSE);
  }

  #play(step) {
    // What is pending after a move of a slider is done here.
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#show();
    this.#openPhrase({ name: this.#phrase.name, notes: this.#notes }, { from: step });
  }

  // --- The picture and the controls -------------------------------------------------------------------------------

  #show() {
    this.#update();
    this.#parts.seed.value = this.#seed;
    this.#parts.sliders.forEach((input, i) => {
      const position = this.#axes[i].positionOf(this.#phrase.code);
      // Not the slider under the finger, which is already there.
      if (Math.abs(Number(input.value) - position) > 0.05) input.value = position;
      this.#showValue(input, LatentAxis.textOf(position), ` ${this.#axes[i].unit}`);
    });
    const counts = describeNotes(this.#notes);
    const description = counts ? `Notes: ${counts}` : 'Silent: lower the threshold';
    const { name } = this.#phrase;
    this.#parts.status.textContent = `${name}. ${description}. Made in ${Math.round(this.#milliseconds)} ms.`;
    this.#parts.canvas.setAttribute('aria-label', `Piano-roll of ${name}: ${counts || 'silent'}`);
    this.#parts.thresholds.forEach((input, track) => {
      input.value = this.#thresholds[track];
      this.#showValue(input, this.#thresholds[track].toFixed(2));
    });
    this.#showFactor();
    this.#draw();
  }

  // The multiple of the model's thresholds, of which those that it would make too large are the largest allowed.
  #showFactor() {
    const { all } = this.#parts;
    const { thresholds } = this.#model.rule;
    const factor = Math.max(...thresholds.map((value, track) => (value ? this.#thresholds[track] / value : 0))) || 1;
    const isCommon = thresholds.every((value, track) => (
      Math.abs(LatentPanel.#multiple(value, factor) - this.#thresholds[track]) < 0.005));
    if (isCommon && Math.abs(Number(all.value) - factor) > 0.025) all.value = factor;
    this.#showValue(all, isCommon ? factor.toFixed(2) : 'different multiples');
  }

  static #multiple(threshold, factor) {
    return Math.min(LatentPanel.#MAX_THRESHOLD, factor * threshold);
  }

  #showTitle() {
    this.#parts.title.scrollIntoView({ block: 'start' });
    this.#parts.title.focus({ preventScroll: true });
  }

  #draw() {
    drawPianoRoll(this.#parts.canvas, this.#notes, { isDark: this.#scheme.matches });
  }

  #showSlots() {
    for (const slot of ['A', 'B']) {
      const { play, label } = this.#parts.slots[slot];
      play.disabled = !this.#kept[slot];
      label.textContent = `${slot}: ${this.#kept[slot]?.name ?? 'empty'}`;
    }
    this.#parts.halfway.disabled = !(this.#kept.A && this.#kept.B);
  }

  // Shows the value of a slider, for screen readers too.
  #showValue(input, text, unit = '') {
    input.setAttribute('aria-valuetext', text + unit);
    input.nextElementSibling.textContent = text;
  }

  // --- Construction -----------------------------------------------------------------------------------------------

  // A labelled slider with its value after it.
  static #slider(text, attributes) {
    const input = make('input', { type: 'range', ...attributes });
    // The value is hidden from screen readers, since the slider itself says it.
    const value = make('span', { 'aria-hidden': 'true' });
    return { label: make('label', { class: 'card slider' }, make('span', {}, text), input, value), input };
  }

  #buildSlot(slot) {
    const play = makeButton(`Play ${slot}`, () => this.#jump(() => this.#take(this.#kept[slot])));
    const label = make('span', { id: `latent-${slot}` });
    const keep = makeButton(`Keep as ${slot}`, () => this.keep(slot, this.#phrase));
    const row = make('div', { class: 'row' }, keep, play, label);
    return { play, label, row };
  }

  #buildKeeping() {
    const message = make('p', { id: 'latent-message', role: 'status' });
    const attributes = { id: 'latent-file', accept: '.json,application/json' };
    const { label } = makeFileField('Open a file ', attributes, async ([file]) => this.#open(await file.text()));
    const row = make('div', { class: 'actions' },
      makeButton('Copy link', () => this.#copyLink()),
      makeButton('Save to a file', () => saveFile(JSON.stringify(this.#stateToKeep()), this.#phrase.name, 'json',
        'application/json')),
      label);
    return { message, row };
  }

  #buildThresholds() {
    const { rule } = this.#model;
    const all = LatentPanel.#slider('Thresholds of all tracks, as a multiple of the model’s: lower for more notes', {
      min: 0.1, max: 3, step: 0.05, value: 1,
      oninput: (event) => this.#slide(() => {
        const factor = Number(event.target.value);
        this.#thresholds = rule.thresholds.map((value) => LatentPanel.#multiple(value, factor));
      }),
    });
    const byTrack = TRACKS.map(({ name }, track) => LatentPanel.#slider(name, {
      min: 0.01, max: LatentPanel.#MAX_THRESHOLD, step: 0.01,
      oninput: (event) => this.#slide(() => { this.#thresholds[track] = Number(event.target.value); }),
    }));
    return { all, byTrack };
  }

  #build(section) {
    const title = make('h2', { id: 'latent-title', tabindex: -1 }, 'Latent space');
    const canvas = make('canvas', { role: 'img', id: 'latent-roll' });
    dragAsMidi(canvas, () => ({ phrases: [this.#notes], name: this.#phrase.name, tempo: this.#player.tempo }));
    const status = make('p', { id: 'latent-status', role: 'status' });
    const sliders = this.#axes.map((axis, i) => LatentPanel.#slider(axis.title, {
      min: -LatentPanel.#REACH, max: LatentPanel.#REACH, step: 0.05, 'data-axis': i,
      oninput: (event) => this.#slide(() => this.#moveTo(axis, Number(event.target.value))),
    }));
    const numAttributes = this.#model.attributes.length;
    const seed = make('input', {
      type: 'number', id: 'latent-seed', min: 0, max: LatentPanel.#MAX_SEED, step: 1,
      onchange: ({ target }) => {
        if (target.value !== '' && target.checkValidity()) this.#jump(() => this.#sample(Number(target.value)));
        else target.value = this.#seed;
      },
    });
    const { message, row: keeping } = this.#buildKeeping();
    const slots = { A: this.#buildSlot('A'), B: this.#buildSlot('B') };
    const halfway = makeButton('Halfway between A and B', () => this.#jump(() => this.#goHalfway()));
    const { all, byTrack } = this.#buildThresholds();
    const labels = (made) => made.map(({ label }) => label);
    const inputs = (made) => made.map(({ input }) => input);

    section.setAttribute('aria-labelledby', title.id);
    section.removeAttribute('aria-label');
    section.append(
      title,
      make('p', {}, 'The decoder runs in this page. New samples are unselected. The sliders change the music: each shows '
        + 'an attribute in its standard deviations over the training music, as a linear model of the codes predicts '
        + 'it, and the share of its variance that the model explains (fit).'),
      make('div', { class: 'card' }, canvas, status),
      make('div', { class: 'actions' },
        makeButton('New sample', () => this.#jump(() => this.#sample((this.#seed + 1) % (LatentPanel.#MAX_SEED + 1)))),
        make('label', {}, 'Seed ', seed),
        makeButton('Play this', () => this.#play(0)),
        makeButton('Save as MIDI', () => saveMidi([this.#notes], this.#phrase.name, this.#player.tempo))),
      make('div', { class: 'cards' }, ...labels(sliders.slice(0, numAttributes))),
      make('details', {}, make('summary', {}, 'Explore the principal components of the codes'),
        make('p', {}, 'Directions in which the codes of training phrases vary most, in standard deviations of these '
          + 'codes. A direction is named after the attribute of the music that it correlates with (r).'),
        make('div', { class: 'cards' }, ...labels(sliders.slice(numAttributes)))),
      make('h3', {}, 'Interpolate'),
      slots.A.row, slots.B.row, make('div', { class: 'actions' }, halfway),
      make('h3', {}, 'Thresholds'),
      all.label,
      make('details', {}, make('summary', {}, 'A threshold for each track'),
        make('div', { class: 'cards' }, ...labels(byTrack))),
      make('h3', {}, 'Keep and share'),
      keeping, message,
    );
    const ranges = { sliders: inputs(sliders), thresholds: inputs(byTrack), all: all.input };
    return { title, canvas, status, seed, message, slots, halfway, ...ranges };
  }
}
