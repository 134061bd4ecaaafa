'use strict';
// The part of a page in which people walk through a latent space. Needs decoder.js, player.js, roll.js and
// downloads.js; the model is what latent_model.py describes.

// Fills a section. `openPhrase({name, notes})` puts a phrase into the shared player and plays it.
function mountLatent(section, model, { player, openPhrase }) {
  return new LatentPanel(section, model, { player, openPhrase });
}

class LatentPanel {
  static #REACH = 4; // deviations that a slider goes either way
  static #HIGHEST_THRESHOLD = 0.99;
  static #PAUSE = 150; // milliseconds that a slider rests before its phrase is played

  #model;
  #player;
  #openPhrase;
  #decoder;
  #scheme = matchMedia('(prefers-color-scheme: dark)');
  #code = [];
  #name = '';
  #seed = 0;
  #kept = { A: null, B: null }; // {code, name}
  #thresholds;
  #decoded = {}; // {code, probabilities}: the last code that was decoded
  #notes = [];
  #milliseconds = 0;
  #frame = 0;
  #timer = 0;
  #parts;

  constructor(section, model, { player, openPhrase }) {
    this.#model = model;
    this.#player = player;
    this.#openPhrase = openPhrase;
    this.#decoder = new Decoder(model);
    this.#thresholds = [...model.rule.thresholds];
    this.#parts = this.#build(section);
    this.#another();
    this.#show();
    this.#showSlots();
    this.#scheme.addEventListener('change', () => this.#draw());
    addEventListener('resize', () => this.#draw());
  }

  // What is in the panel: {code, name, thresholds, notes, milliseconds}.
  get state() {
    return {
      code: [...this.#code], name: this.#name, thresholds: [...this.#thresholds], notes: this.#notes,
      milliseconds: this.#milliseconds,
    };
  }

  // Standard normal numbers, the same for the same seed: a counter that is scrambled, two uniform numbers at a time.
  static normals(seed, count) {
    let counter = Math.imul(seed + 1, 0x9e3779b1);
    const uniform = () => {
      counter = (counter + 0x6d2b79f5) | 0;
      let bits = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
      bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
      return (((bits ^ (bits >>> 16)) >>> 0) + 0.5) / 2 ** 32;
    };
    return Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
  }

  // A draw of the prior; or of the mixture, where the model has one.
  static drawn(seed, { mean, prior_deviation: deviation, mixture }) {
    const count = mean.length;
    const normals = LatentPanel.normals(seed, count + 2);
    if (!mixture) return normals.slice(0, count).map((value) => deviation * value);
    // Half the square of the length of two standard normal numbers is exponential, so that this is uniform.
    let left = Math.exp(-(normals[count] ** 2 + normals[count + 1] ** 2) / 2);
    const found = mixture.weights.findIndex((weight) => (left -= weight) < 0);
    const component = found < 0 ? mixture.weights.length - 1 : found;
    const means = Decoder.floats(mixture.means).subarray(component * count, (component + 1) * count);
    const rows = Decoder.floats(mixture.factors).subarray(component * count * count, (component + 1) * count * count);
    return Array.from(means, (value, i) =>
      rows.subarray(i * count, (i + 1) * count).reduce((sum, factor, j) => sum + factor * normals[j], value));
  }

  // The code in the middle of two, as `generate.slerp` has it: direction turns, and norm changes, evenly.
  static halfway(one, other) {
    const norms = [Math.hypot(...one), Math.hypot(...other)];
    const sums = one.map((value, i) => value / norms[0] + other[i] / norms[1]);
    const length = Math.hypot(...sums);
    // Where a code is 0, or they are opposite, there is no direction in the middle.
    if (!(length > 1e-6)) return one.map((value, i) => (value + other[i]) / 2);
    return sums.map((value) => (value / length) * ((norms[0] + norms[1]) / 2));
  }

  // --- Codes ------------------------------------------------------------------------------------------------------

  #another() {
    this.#seed += 1;
    this.#code = LatentPanel.drawn(this.#seed, this.#model);
    this.#name = `Fresh draw ${this.#seed}`;
  }

  // How far the code is along a direction, in deviations of the training phrases' codes.
  #along({ component, deviation }) {
    const { mean } = this.#model;
    return component.reduce((sum, value, i) => sum + value * (this.#code[i] - mean[i]), 0) / deviation;
  }

  #moveTo(direction, target) {
    const by = (target - this.#along(direction)) * direction.deviation;
    this.#code = this.#code.map((value, i) => value + by * direction.component[i]);
    if (!this.#name.endsWith(', moved')) this.#name += ', moved';
  }

  #keep(slot) {
    this.#kept[slot] = { code: this.#code, name: this.#name };
    this.#showSlots();
  }

  #goTo(slot) {
    ({ code: this.#code, name: this.#name } = this.#kept[slot]);
  }

  #goHalfway() {
    const { A, B } = this.#kept;
    this.#code = LatentPanel.halfway(A.code, B.code);
    this.#name = 'Halfway between A and B';
  }

  // --- From codes to phrases --------------------------------------------------------------------------------------

  #update() {
    const start = performance.now();
    // Codes are never changed, only replaced; thresholds alone need no decoding.
    if (this.#decoded.code !== this.#code) {
      this.#decoded = { code: this.#code, probabilities: this.#decoder.decode(this.#code) };
    }
    // A lower threshold wakes tracks at rest too.
    const { thresholds, track_gates: trackGates } = this.#model.rule;
    this.#notes = this.#decoder.notes(this.#decoded.probabilities, {
      ...this.#model.rule,
      thresholds: this.#thresholds,
      track_gates: trackGates.map((gate, track) => (gate * this.#thresholds[track]) / (thresholds[track] || 1)),
    });
    this.#milliseconds = performance.now() - start;
  }

  // A new code: played from its start.
  #jump(change) {
    change();
    this.#play(0);
  }

  // A slider moves: the picture follows, the sound when it rests, from where the music is.
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
    // Nothing is left to be done of a slide before this.
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#show();
    this.#openPhrase({ name: this.#name, notes: this.#notes });
    if (step > 0) this.#player.seek(step);
  }

  // --- What is seen -----------------------------------------------------------------------------------------------

  #show() {
    this.#update();
    this.#parts.sliders.forEach((input, i) => {
      const along = this.#along(this.#model.directions[i]);
      // Not the one under the finger: it is where it was put.
      if (Math.abs(Number(input.value) - along) > 0.05) input.value = along;
      this.#say(input, `${along >= 0 ? '+' : '−'}${Math.abs(along).toFixed(1)}`, ' standard deviations');
    });
    this.#showNotes();
  }

  #showNotes() {
    const counts = TRACKS.map(({ name }, track) => [name, this.#notes.filter((note) => note[0] === track).length]);
    const sounding = counts.filter(([, count]) => count).map(([name, count]) => `${name} ${count}`).join(', ');
    const described = sounding ? `Notes: ${sounding}` : 'Silent: lower the threshold';
    this.#parts.status.textContent = `${this.#name}. ${described}. Made in ${Math.round(this.#milliseconds)} ms.`;
    this.#parts.canvas.setAttribute('aria-label', `Piano-roll of ${this.#name}: ${sounding || 'silent'}`);
    this.#parts.thresholds.forEach((input, track) => {
      input.value = this.#thresholds[track];
      this.#say(input, this.#thresholds[track].toFixed(2));
    });
    this.#draw();
  }

  #draw() {
    drawRoll(this.#parts.canvas, this.#notes, { isDark: this.#scheme.matches });
  }

  #showSlots() {
    for (const slot of ['A', 'B']) {
      const { go, label } = this.#parts.slots[slot];
      go.disabled = !this.#kept[slot];
      label.textContent = `${slot}: ${this.#kept[slot]?.name ?? 'nothing kept yet'}`;
    }
    this.#parts.halfway.disabled = !(this.#kept.A && this.#kept.B);
  }

  // What a slider says, to be seen and to be read out.
  #say(input, text, unit = '') {
    input.setAttribute('aria-valuetext', text + unit);
    input.nextElementSibling.textContent = text;
  }

  // --- What it is built of ----------------------------------------------------------------------------------------

  static #make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === 'function') element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  static #button(text, onclick) {
    return LatentPanel.#make('button', { type: 'button', onclick }, text);
  }

  // A labelled slider with its value behind it.
  static #slider(text, attributes) {
    const make = LatentPanel.#make;
    const input = make('input', { type: 'range', ...attributes });
    // In a label a slider has a name without an id; the value is said by the slider itself.
    const label = make('label', { class: 'card' }, make('span', {}, text), input, make('span', { 'aria-hidden': 'true' }));
    input.style.width = '75%';
    label.style.display = 'block';
    label.firstChild.style.display = 'block';
    return { label, input };
  }

  #build(section) {
    const make = LatentPanel.#make;
    const button = LatentPanel.#button;
    const title = make('h2', { id: 'latent-title' }, 'Latent space');
    const canvas = make('canvas', { role: 'img', id: 'latent-roll' });
    canvas.style.height = '180px';
    const status = make('p', { id: 'latent-status', role: 'status' });

    const sliders = this.#model.directions.map((direction, i) => LatentPanel.#slider(LatentPanel.#title(direction, i), {
      min: -LatentPanel.#REACH, max: LatentPanel.#REACH, step: 0.05, 'data-direction': i,
      oninput: (event) => this.#slide(() => this.#moveTo(direction, Number(event.target.value))),
    }));

    const slots = Object.fromEntries(['A', 'B'].map((slot) => {
      const go = button(`Play ${slot}`, () => this.#jump(() => this.#goTo(slot)));
      const label = make('span', { id: `latent-${slot}` });
      const keep = button(`Keep as ${slot}`, () => this.#keep(slot));
      return [slot, { go, label, row: make('div', { class: 'row' }, keep, go, label) }];
    }));
    const halfway = button('Halfway between A and B', () => this.#jump(() => this.#goHalfway()));

    const times = (event) => this.#slide(() => {
      const factor = Number(event.target.value);
      this.#thresholds = this.#model.rule.thresholds.map((each) => Math.min(LatentPanel.#HIGHEST_THRESHOLD, factor * each));
      this.#say(all.input, factor.toFixed(2));
    });
    const all = LatentPanel.#slider('Threshold of all tracks, times that of the run: more notes below 1, fewer above',
      { min: 0.1, max: 3, step: 0.05, value: 1, oninput: times });
    this.#say(all.input, '1.00');
    const each = TRACKS.map(({ name }, track) => LatentPanel.#slider(name, {
      min: 0.01, max: LatentPanel.#HIGHEST_THRESHOLD, step: 0.01,
      oninput: (event) => this.#slide(() => { this.#thresholds[track] = Number(event.target.value); }),
    }));

    section.setAttribute('aria-labelledby', title.id);
    section.removeAttribute('aria-label');
    section.append(
      title,
      make('p', {}, 'The decoder runs in this page. Each draw is unselected; the sliders follow the directions in which '
        + 'the codes of training phrases differ most, in standard deviations of these. A direction has a name where it '
        + 'goes with something that can be measured, with the correlation r.'),
      make('div', { class: 'card' }, canvas, status),
      make('div', { class: 'actions' },
        button('Another draw', () => this.#jump(() => this.#another())),
        button('Play this', () => this.#play(0)),
        button('Save as MIDI', () => this.#saveMidi())),
      make('div', { class: 'cards' }, ...sliders.map(({ label }) => label)),
      make('h3', {}, 'Between two'),
      slots.A.row, slots.B.row, make('div', { class: 'actions' }, halfway),
      make('h3', {}, 'Threshold'),
      all.label,
      make('details', {}, make('summary', {}, 'A threshold for each track'),
        make('div', { class: 'cards' }, ...each.map(({ label }) => label))),
    );
    const inputs = (made) => made.map(({ input }) => input);
    return { canvas, status, slots, halfway, sliders: inputs(sliders), thresholds: inputs(each) };
  }

  static #title({ name, correlation, share }, place) {
    const named = name === null ? `Direction ${place + 1}` : `Direction ${place + 1}: ${name} (r ${correlation.toFixed(2)})`;
    return `${named}, ${Math.round(100 * share)}\u00a0% of the variance`;
  }

  #saveMidi() {
    saveFile(midiFile([this.#notes], { tempo: this.#player.tempo, title: this.#name }), `${this.#name}.mid`, 'audio/midi');
  }
}
