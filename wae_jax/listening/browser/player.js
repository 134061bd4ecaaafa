'use strict';
// Plays phrases through Web Audio. Needs voices.js.
//
// A phrase is a list of notes [track, pitch, onset, length]: an index into TRACKS, a MIDI number, and two numbers of
// steps, which are twelfths of a quarter note.

const STEPS_PER_BEAT = 12;
const STEPS_PER_BAR = 48;
const PHRASE_STEPS = 192;

// The colors of render/style.py, lighter where a dark background would hide them.
const TRACKS = [
  { name: 'Drums', program: 0, channel: 9, light: '#4A4E5A', dark: '#B9BDC9' },
  { name: 'Piano', program: 0, channel: 0, light: '#0072B2', dark: '#4FA9E2' },
  { name: 'Guitar', program: 25, channel: 1, light: '#E69F00', dark: '#E69F00' },
  { name: 'Bass', program: 33, channel: 2, light: '#009E73', dark: '#1DBE90' },
  { name: 'Strings', program: 48, channel: 3, light: '#CC5FA0', dark: '#DB78B3' },
];

// Enough for any music; the noise of a survey has hundreds of notes at once.
const MAX_VOICES = 48;

const stepSeconds = (tempo) => 60 / tempo / STEPS_PER_BEAT;

// The notes ordered by onset, without those that begin while MAX_VOICES others sound.
function audibleNotes(notes) {
  const kept = [];
  let ends = [];
  for (const note of [...notes].sort((a, b) => a[2] - b[2])) {
    ends = ends.filter((end) => end > note[2]);
    if (ends.length >= MAX_VOICES) continue;
    // A drum rings for a while, whatever the length of its note.
    ends.push(note[2] + Math.max(note[3], note[0] === 0 ? 6 : 1));
    kept.push(note);
  }
  return kept;
}

// An input for each track, and a limiter that keeps their sum between -1 and 1.
function makeMixer(context) {
  const tracks = TRACKS.map(() => new GainNode(context));
  const inputs = VOICE_GAINS.map((gain, track) => {
    const input = new GainNode(context, { gain });
    input.connect(tracks[track]);
    return input;
  });
  const compressor = new DynamicsCompressorNode(context, { threshold: -14, ratio: 8, attack: 0.003, release: 0.15 });
  // The curve is flat beyond its ends, so that the output never exceeds .95.
  const curve = Float32Array.from({ length: 2049 }, (_, i) => 0.95 * Math.tanh(1.5 * (i / 1024 - 1)) / Math.tanh(1.5));
  const output = new WaveShaperNode(context, { curve });
  for (const track of tracks) track.connect(compressor);
  chain(compressor, new GainNode(context, { gain: 0.7 }), output);
  return { inputs, tracks, output };
}

// Starts a note, which `cut` ends early.
function startVoice(context, inputs, [track, pitch], when, seconds) {
  const voice = VOICES[track](context, pitch, when, seconds);
  const gate = new GainNode(context);
  chain(voice.output, gate, inputs[track]);
  // Stopped nodes would otherwise stay connected and take time as long as the page is open.
  voice.sources[0].onended = () => gate.disconnect();
  return {
    when,
    end: voice.end,
    cut(now) {
      gate.gain.setTargetAtTime(0, now, 0.008);
      for (const source of voice.sources) source.stop(Math.max(now, when) + 0.05);
    },
  };
}

class Player {
  static #context = null;

  #notes = [];
  #numSteps = PHRASE_STEPS;
  #tempo;
  #volume = 0.8;
  #loop = false;
  #muted = TRACKS.map(() => false);
  #solo = TRACKS.map(() => false);
  #graph = null;
  #voices = [];
  #timer = 0;
  // While it plays: the context's time of the step #anchorStep. In a loop, steps count on in the next round.
  #anchorTime = 0;
  #anchorStep = 0;
  #next = 0; // index of the note to be scheduled next,
  #round = 0; // and its round of the loop

  constructor({ tempo = 100 } = {}) {
    this.#tempo = tempo;
    this.isPlaying = false;
    this.onend = null;
    this.onprogress = null;
  }

  load(notes, numSteps = PHRASE_STEPS) {
    this.stop();
    this.#notes = audibleNotes(notes);
    this.#numSteps = numSteps;
  }

  play() {
    if (this.isPlaying) return;
    const { context } = this.#audio();
    context.resume();
    this.isPlaying = true;
    this.#begin(this.#anchorStep);
    this.#timer = setInterval(() => this.#tick(), 25);
    this.#tick();
    requestAnimationFrame(() => this.#frame());
  }

  pause() {
    if (!this.isPlaying) return;
    this.#anchorStep = this.position;
    this.isPlaying = false;
    clearInterval(this.#timer);
    this.#silence();
    this.onprogress?.(this.position);
  }

  stop() {
    this.pause();
    this.#anchorStep = 0;
    this.onprogress?.(0);
  }

  seek(step) {
    const target = Math.min(Math.max(step, 0), this.#numSteps - 1e-3);
    if (this.isPlaying) {
      this.#silence();
      this.#begin(target);
      this.#tick();
    } else {
      this.#anchorStep = target;
    }
    this.onprogress?.(target);
  }

  get position() {
    return this.isPlaying ? this.#unrolled() % this.#numSteps : this.#anchorStep;
  }

  get analyser() {
    return this.#audio().analyser;
  }

  get tempo() {
    return this.#tempo;
  }

  set tempo(tempo) {
    if (!(tempo > 0)) return;
    this.#reschedule(() => { this.#tempo = tempo; });
  }

  get loop() {
    return this.#loop;
  }

  set loop(loop) {
    this.#reschedule(() => { this.#loop = Boolean(loop); });
  }

  get volume() {
    return this.#volume;
  }

  set volume(volume) {
    this.#volume = Math.min(Math.max(volume, 0), 1);
    this.#setGains();
  }

  setMuted(track, isMuted) {
    this.#muted[track] = isMuted;
    this.#setGains();
  }

  setSolo(track, isSolo) {
    this.#solo[track] = isSolo;
    this.#setGains();
  }

  isMuted(track) {
    return this.#muted[track];
  }

  isSolo(track) {
    return this.#solo[track];
  }

  // Whether a track is heard: not muted, and soloed if any track is.
  isHeard(track) {
    return !this.#muted[track] && (this.#solo[track] || !this.#solo.includes(true));
  }

  #audio() {
    if (this.#graph) return this.#graph;
    // Shared by all players, since browsers allow only a few.
    Player.#context ??= new AudioContext();
    const context = Player.#context;
    const { inputs, tracks, output } = makeMixer(context);
    const volume = new GainNode(context);
    const analyser = new AnalyserNode(context, { fftSize: 2048 });
    chain(output, volume, analyser, context.destination);
    this.#graph = { context, inputs, tracks, volume, analyser };
    this.#setGains();
    return this.#graph;
  }

  #setGains() {
    if (!this.#graph) return;
    const { context, tracks, volume } = this.#graph;
    // Gradually, since a jump would click.
    const set = (node, value) => node.gain.setTargetAtTime(value, context.currentTime, 0.01);
    set(volume, this.#volume ** 2);
    tracks.forEach((node, track) => set(node, this.isHeard(track) ? 1 : 0));
  }

  #now() {
    return this.#graph.context.currentTime;
  }

  #unrolled() {
    return this.#anchorStep + Math.max(0, this.#now() - this.#anchorTime) / stepSeconds(this.#tempo);
  }

  #time(step) {
    return this.#anchorTime + (step - this.#anchorStep) * stepSeconds(this.#tempo);
  }

  // Starts at a step. Notes that began before it sound for the rest of their length.
  #begin(step) {
    this.#anchorTime = this.#now() + 0.03;
    this.#anchorStep = step;
    this.#round = 0;
    this.#next = this.#firstNoteFrom(step);
    for (const [track, pitch, onset, length] of this.#notes.slice(0, this.#next)) {
      if (track !== 0 && onset + length > step) this.#start([track, pitch, step, onset + length - step], step);
    }
  }

  #firstNoteFrom(step) {
    const index = this.#notes.findIndex((note) => note[2] >= step);
    return index < 0 ? this.#notes.length : index;
  }

  // Makes a change while it plays: notes that have not begun are scheduled again.
  #reschedule(change) {
    if (!this.isPlaying) {
      change();
      return;
    }
    const now = this.#now();
    const step = this.#unrolled();
    change();
    this.#voices = this.#voices.filter((voice) => {
      if (voice.when <= now) return true;
      voice.cut(now);
      return false;
    });
    if (now >= this.#anchorTime) {
      this.#anchorStep = step % this.#numSteps;
      this.#anchorTime = now;
    }
    this.#round = 0;
    this.#next = this.#firstNoteFrom(this.#anchorStep);
    this.#tick();
  }

  // Schedules the notes of the next moments; called often enough to leave no gap.
  #tick() {
    const now = this.#now();
    // In a hidden page, timers run only once a second.
    const horizon = now + (document.hidden ? 2.2 : 0.15);
    this.#voices = this.#voices.filter((voice) => voice.end > now);
    for (;;) {
      const start = this.#round * this.#numSteps;
      if (this.#next === this.#notes.length) {
        if (!this.#loop || this.#time(start + this.#numSteps) > horizon) break;
        this.#round += 1;
        this.#next = 0;
        // A silent phrase repeats without notes to schedule.
        if (!this.#notes.length) break;
        continue;
      }
      const note = this.#notes[this.#next];
      if (this.#time(start + note[2]) > horizon) break;
      this.#start(note, start + note[2]);
      this.#next += 1;
    }
    if (!this.#loop && this.#unrolled() >= this.#numSteps) this.#finish();
  }

  #start(note, step) {
    const { context, inputs } = this.#graph;
    const when = Math.max(this.#time(step), context.currentTime);
    // Notes far in the past are dropped: the tempo was raised, or the page was suspended.
    if (when - this.#time(step) > 0.2) return;
    this.#voices.push(startVoice(context, inputs, note, when, note[3] * stepSeconds(this.#tempo)));
  }

  #silence() {
    for (const voice of this.#voices) voice.cut(this.#now());
    this.#voices = [];
  }

  #finish() {
    // The last notes ring out.
    this.isPlaying = false;
    clearInterval(this.#timer);
    this.#voices = [];
    this.#anchorStep = 0;
    this.onprogress?.(0);
    this.onend?.();
  }

  #frame() {
    if (!this.isPlaying) return;
    this.onprogress?.(this.position);
    requestAnimationFrame(() => this.#frame());
  }
}

// The sound of a phrase as an AudioBuffer, with the tracks for which `isHeard(track)` is true.
async function renderPhrase(notes, { tempo = 100, numSteps = PHRASE_STEPS, isHeard = () => true } = {}) {
  const sampleRate = 44100;
  const seconds = numSteps * stepSeconds(tempo);
  const context = new OfflineAudioContext(2, Math.ceil((seconds + 1) * sampleRate), sampleRate);
  const { inputs, output } = makeMixer(context);
  output.connect(context.destination);
  for (const note of audibleNotes(notes)) {
    const [onset, length] = [note[2], note[3]].map((steps) => steps * stepSeconds(tempo));
    if (isHeard(note[0])) startVoice(context, inputs, note, onset, length);
  }
  return context.startRendering();
}
