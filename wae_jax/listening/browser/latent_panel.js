'use strict';
// The part of a page that explores a latent space. Needs elements.js, player.js, piano_roll.js, downloads.js,
// binarization.js and decoder.js; the model is the data of latent_panel.py.

class LatentPanel {
  static #REACH = 4; // standard deviations that a slider goes in either direction
  static #MAX_THRESHOLD = 0.99;
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
  #decoded = {}; // {code, probabilities} of the last code decoded
  #notes = [];
  #milliseconds = 0;
  #frame = 0;
  #timer = 0;
  #parts;

  // Fills a section. `openPhrase({name, notes})` puts a phrase into the shared player and plays it.
  constructor(section, model, { player, openPhrase }) {
    this.#model = model;
    this.#player = player;
    this.#openPhrase = openPhrase;
    this.#decoder = new Decoder(model.layers);
    this.#thresholds = [...model.rule.thresholds];
    this.#parts = this.#build(section);
    this.#newSample();
    this.#show();
    this.#showSlots();
    this.#scheme.addEventListener('change', () => this.#draw());
    addEventListener('resize', () => this.#draw());
  }

  // The content of the panel: {code, name, thresholds, notes}.
  get state() {
    return { code: [...this.#code], name: this.#name, thresholds: [...this.#thresholds], notes: this.#notes };
  }

  // Standard normal numbers, the same for the same seed: a scrambled counter gives two uniform numbers for each.
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

  // A code sampled from the density estimate, if the model has one, or from the normal prior.
  static sampleCode(seed, { mean, prior_deviation: deviation, kernel_density: density }) {
    const count = mean.length;
    const normals = LatentPanel.normals(seed, count + 2);
    if (!density) return normals.slice(0, count).map((value) => deviation * value);
    // Half the squared length of two standard normal numbers is exponential, so this is uniform.
    const uniform = Math.exp(-(normals[count] ** 2 + normals[count + 1] ** 2) / 2);
    const centers = Decoder.halves(density.centers);
    const kernel = Math.min(Math.floor(uniform * (centers.length / count)), centers.length / count - 1);
    const factor = Decoder.floats(density.factor);
    return Array.from(centers.subarray(kernel * count, (kernel + 1) * count), (center, i) =>
      factor.subarray(i * count, (i + 1) * count).reduce((sum, value, j) => sum + value * normals[j], center));
  }

  // The code halfway between two, as `slerp` of latent_paths.py: direction and norm change evenly.
  static halfway(one, other) {
    const norms = [Math.hypot(...one), Math.hypot(...other)];
    const sums = one.map((value, i) => value / norms[0] + other[i] / norms[1]);
    const length = Math.hypot(...sums);
    // If a code is 0, or the two are opposite, there is no direction halfway.
    if (!(length > 1e-6)) return one.map((value, i) => (value + other[i]) / 2);
    return sums.map((value) => (value / length) * ((norms[0] + norms[1]) / 2));
  }

  // --- Codes ------------------------------------------------------------------------------------------------------

  #newSample() {
    this.#seed += 1;
    this.#code = LatentPanel.sampleCode(this.#seed, this.#model);
    this.#name = `New sample ${this.#seed}`;
  }

  // The position of the code along a direction, in standard deviations of the codes of training phrases.
  #positionAlong({ component, deviation }) {
    const { mean } = this.#model;
    return component.reduce((sum, value, i) => sum + value * (this.#code[i] - mean[i]), 0) / deviation;
  }

  #moveTo(direction, target) {
    const by = (target - this.#positionAlong(direction)) * direction.deviation;
    this.#code = this.#code.map((value, i) => value + by * direction.component[i]);
    if (!this.#name.endsWith(', moved')) this.#name += ', moved';
  }

  #keep(slot) {
    this.#kept[slot] = { code: this.#code, name: this.#name };
    this.#showSlots();
  }

  #goHalfway() {
    const { A, B } = this.#kept;
    this.#code = LatentPanel.halfway(A.code, B.code);
    this.#name = 'Halfway between A and B';
  }

  // --- From codes to phrases --------------------------------------------------------------------------------------

  #update() {
    const start = performance.now();
    // Codes are replaced, never changed; new thresholds alone need no decoding.
    if (this.#decoded.code !== this.#code) {
      this.#decoded = { code: this.#code, probabilities: this.#decoder.decode(this.#code) };
    }
    const { rule, shape, lowest_pitch: lowestPitch } = this.#model;
    // A lower threshold lowers the gate of the track too.
    const gates = rule.track_gates.map((gate, k) => (gate * this.#thresholds[k]) / (rule.thresholds[k] || 1));
    const changed = { ...rule, thresholds: this.#thresholds, track_gates: gates };
    this.#notes = findNotes(this.#decoded.probabilities, changed, shape, lowestPitch);
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
    this.#openPhrase({ name: this.#name, notes: this.#notes });
    if (step > 0) this.#player.seek(step);
  }

  // --- The picture and the controls -------------------------------------------------------------------------------

  #show() {
    this.#update();
    this.#parts.sliders.forEach((input, i) => {
      const position = this.#positionAlong(this.#model.directions[i]);
      // Not the slider under the finger, which is already there.
      if (Math.abs(Number(input.value) - position) > 0.05) input.value = position;
      this.#showValue(input, `${position >= 0 ? '+' : '−'}${Math.abs(position).toFixed(1)}`, ' standard deviations');
    });
    const counts = describeNotes(this.#notes);
    const description = counts ? `Notes: ${counts}` : 'Silent: lower the threshold';
    this.#parts.status.textContent = `${this.#name}. ${description}. Made in ${Math.round(this.#milliseconds)} ms.`;
    this.#parts.canvas.setAttribute('aria-label', `Piano-roll of ${this.#name}: ${counts || 'silent'}`);
    this.#parts.thresholds.forEach((input, track) => {
      input.value = this.#thresholds[track];
      this.#showValue(input, this.#thresholds[track].toFixed(2));
    });
    this.#draw();
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

  static #title({ name, correlation, share }, index) {
    const named = name === null ? '' : `: ${name} (r ${correlation.toFixed(2)})`;
    return `Direction ${index + 1}${named}, ${Math.round(100 * share)}\u00a0% of the variance`;
  }

  #buildSlot(slot) {
    const play = makeButton(`Play ${slot}`, () => this.#jump(() => {
      ({ code: this.#code, name: this.#name } = this.#kept[slot]);
    }));
    const label = make('span', { id: `latent-${slot}` });
    const row = make('div', { class: 'row' }, makeButton(`Keep as ${slot}`, () => this.#keep(slot)), play, label);
    return { play, label, row };
  }

  #buildThresholds() {
    const { rule } = this.#model;
    const all = LatentPanel.#slider('Thresholds of all tracks, as a multiple of the model’s: lower for more notes', {
      min: 0.1, max: 3, step: 0.05, value: 1,
      oninput: (event) => this.#slide(() => {
        const factor = Number(event.target.value);
        this.#thresholds = rule.thresholds.map((value) => Math.min(LatentPanel.#MAX_THRESHOLD, factor * value));
        this.#showValue(all.input, factor.toFixed(2));
      }),
    });
    this.#showValue(all.input, '1.00');
    const byTrack = TRACKS.map(({ name }, track) => LatentPanel.#slider(name, {
      min: 0.01, max: LatentPanel.#MAX_THRESHOLD, step: 0.01,
      oninput: (event) => this.#slide(() => { this.#thresholds[track] = Number(event.target.value); }),
    }));
    return { all, byTrack };
  }

  #build(section) {
    const title = make('h2', { id: 'latent-title' }, 'Latent space');
    const canvas = make('canvas', { role: 'img', id: 'latent-roll' });
    const status = make('p', { id: 'latent-status', role: 'status' });
    const sliders = this.#model.directions.map((direction, i) => LatentPanel.#slider(LatentPanel.#title(direction, i), {
      min: -LatentPanel.#REACH, max: LatentPanel.#REACH, step: 0.05, 'data-direction': i,
      oninput: (event) => this.#slide(() => this.#moveTo(direction, Number(event.target.value))),
    }));
    const slots = { A: this.#buildSlot('A'), B: this.#buildSlot('B') };
    const halfway = makeButton('Halfway between A and B', () => this.#jump(() => this.#goHalfway()));
    const { all, byTrack } = this.#buildThresholds();
    const labels = (made) => made.map(({ label }) => label);
    const inputs = (made) => made.map(({ input }) => input);

    section.setAttribute('aria-labelledby', title.id);
    section.removeAttribute('aria-label');
    section.append(
      title,
      make('p', {}, 'The decoder runs in this page. New samples are unselected. The sliders move along the directions '
        + 'in which the codes of training phrases vary most, in standard deviations of these codes. A direction is '
        + 'named after the attribute of the music that it correlates with (r).'),
      make('div', { class: 'card' }, canvas, status),
      make('div', { class: 'actions' },
        makeButton('New sample', () => this.#jump(() => this.#newSample())),
        makeButton('Play this', () => this.#play(0)),
        makeButton('Save as MIDI', () => saveMidi([this.#notes], this.#name, this.#player.tempo))),
      make('div', { class: 'cards' }, ...labels(sliders)),
      make('h3', {}, 'Interpolate'),
      slots.A.row, slots.B.row, make('div', { class: 'actions' }, halfway),
      make('h3', {}, 'Thresholds'),
      all.label,
      make('details', {}, make('summary', {}, 'A threshold for each track'),
        make('div', { class: 'cards' }, ...labels(byTrack))),
    );
    return { canvas, status, slots, halfway, sliders: inputs(sliders), thresholds: inputs(byTrack) };
  }
}
