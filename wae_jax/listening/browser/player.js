'use strict';
// Plays phrases, through the speakers or a MIDI port. Needs voices.js and sound.js.

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
  #output = null; // a MidiOutput in place of the speakers
  #clockOffset = 0; // performance.now() at the context's time 0
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

  // In a loop that plays, goes on with another phrase of the same length from the next bar; otherwise loads it.
  loadAtNextBar(notes) {
    if (!this.isPlaying || !this.#loop) {
      this.load(notes, this.#numSteps);
      return;
    }
    const bar = STEPS_PER_BAR * (Math.floor(this.#unrolled() / STEPS_PER_BAR) + 1);
    this.#scheduleUntil(bar);
    const end = this.#time(bar);
    for (const voice of this.#voices) {
      if (voice.when >= end) voice.cut(this.#now());
      else if (voice.end > end) voice.cut(end);
    }
    this.#voices = this.#voices.filter((voice) => voice.when < end);
    this.#notes = audibleNotes(notes);
    this.#round = Math.floor(bar / this.#numSteps);
    this.#enter(bar);
    this.#tick();
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
    this.#output?.stopClock();
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
      this.#output?.stopClock();
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

  get output() {
    return this.#output;
  }

  // A MidiOutput, or null for the speakers.
  set output(output) {
    this.pause();
    this.#output = output;
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
    set(volume, this.#output ? 0 : this.#volume ** 2);
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

  // Starts at a step.
  #begin(step) {
    this.#anchorTime = this.#now() + 0.03;
    this.#anchorStep = step;
    this.#round = 0;
    this.#startClock(true);
    this.#enter(step);
  }

  #startClock(isStart) {
    // Once, since the context's time moves on in jumps of milliseconds.
    this.#clockOffset = performance.now() - 1000 * this.#now();
    this.#output?.startClock({
      step: this.#anchorStep, at: this.#milliseconds(this.#anchorTime),
      stepMilliseconds: 1000 * stepSeconds(this.#tempo), isStart,
    });
  }

  // A time of the context as one of performance.now().
  #milliseconds(time) {
    return this.#clockOffset + 1000 * time;
  }

  // Goes on from a step of the round. Notes that began before it sound for the rest of their length.
  #enter(unrolled) {
    const step = unrolled - this.#round * this.#numSteps;
    this.#next = this.#firstNoteFrom(step);
    for (const [track, pitch, onset, length] of this.#notes.slice(0, this.#next)) {
      if (track !== 0 && onset + length > step) this.#start([track, pitch, step, onset + length - step], unrolled);
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
    this.#startClock(false);
    this.#tick();
  }

  // Schedules the notes of the next moments; called often enough to leave no gap.
  #tick() {
    const now = this.#now();
    // In a hidden page, timers run only once a second.
    const horizon = now + (document.hidden ? 2.2 : 0.15);
    this.#voices = this.#voices.filter((voice) => voice.end > now);
    this.#scheduleUntil(this.#anchorStep + (horizon - this.#anchorTime) / stepSeconds(this.#tempo));
    if (!this.#loop && this.#unrolled() >= this.#numSteps) this.#finish();
  }

  // Schedules the notes up to a step, in a loop those of its next rounds too.
  #scheduleUntil(last) {
    for (;;) {
      const start = this.#round * this.#numSteps;
      if (this.#next === this.#notes.length) {
        if (!this.#loop || start + this.#numSteps > last) break;
        this.#round += 1;
        this.#next = 0;
        // A silent phrase repeats without notes to schedule.
        if (!this.#notes.length) break;
        continue;
      }
      const note = this.#notes[this.#next];
      if (start + note[2] > last) break;
      this.#start(note, start + note[2]);
      this.#next += 1;
    }
  }

  #start(note, step) {
    const { context, inputs } = this.#graph;
    const when = Math.max(this.#time(step), context.currentTime);
    // Notes far in the past are dropped: the tempo was raised, or the page was suspended.
    if (when - this.#time(step) > 0.2) return;
    const seconds = note[3] * stepSeconds(this.#tempo);
    const voice = startVoice(context, inputs, note, when, seconds);
    if (this.#output && this.isHeard(note[0])) {
      const sent = this.#output.startNote(note, this.#milliseconds(when), 1000 * seconds);
      const { cut } = voice;
      voice.cut = (time) => {
        cut(time);
        sent.cut(this.#milliseconds(time));
      };
    }
    this.#voices.push(voice);
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
    this.#output?.stopClock();
    this.onprogress?.(0);
    this.onend?.();
  }

  #frame() {
    if (!this.isPlaying) return;
    this.onprogress?.(this.position);
    requestAnimationFrame(() => this.#frame());
  }
}
