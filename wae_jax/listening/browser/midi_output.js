'use strict';
// Sends what a player plays to a MIDI port, with the clock of MIDI. Needs sound.js. Times are those of performance.now().

class MidiOutput {
  static #LEAD = 60; // milliseconds before its time that a message is sent: it can be taken back until then
  static #CLOCKS_PER_STEP = 24 / STEPS_PER_BEAT;
  static #VELOCITY = 100;

  #port;
  #clock = null; // {timer, next, interval}: the time of the next pulse, and between two

  // Sends programs of General MIDI, on the channels of MIDI files.
  constructor(port) {
    this.#port = port;
    for (const { program, channel } of TRACKS) if (channel !== 9) this.#port.send([0xc0 | channel, program]);
  }

  // The ports of this computer. Rejects if the browser has none, or is not allowed to use them.
  static async ports() {
    if (!navigator.requestMIDIAccess) throw new Error('This browser has no MIDI.');
    return [...(await navigator.requestMIDIAccess()).outputs.values()];
  }

  // Starts a note, which `cut` ends early or prevents.
  startNote([track, pitch], at, milliseconds) {
    const { channel } = TRACKS[track];
    const end = (time) => this.#port.send([0x80 | channel, pitch, 0], time);
    let hasBegun = false;
    let timer = this.#later(at, () => {
      hasBegun = true;
      this.#port.send([0x90 | channel, pitch, MidiOutput.#VELOCITY], at);
      timer = this.#later(at + milliseconds, end);
    });
    return {
      cut(time) {
        clearTimeout(timer);
        if (hasBegun) end(Math.max(time, at));
      },
    };
  }

  // Starts the clock at a step, or goes on with another tempo.
  startClock({ step, at, stepMilliseconds, isStart }) {
    clearInterval(this.#clock?.timer);
    const interval = stepMilliseconds / MidiOutput.#CLOCKS_PER_STEP;
    if (isStart) {
      // A position counts sixteenth notes, in seven bits a byte.
      const position = Math.round(step / (STEPS_PER_BEAT / 4));
      if (position) this.#port.send([0xf2, position & 0x7f, position >> 7]);
      // Before the first pulse, so that a receiver is ready for it.
      this.#port.send([position ? 0xfb : 0xfa], at - 1);
    }
    const wait = Math.ceil(step * MidiOutput.#CLOCKS_PER_STEP) - step * MidiOutput.#CLOCKS_PER_STEP;
    this.#clock = { next: at + wait * interval, interval, timer: setInterval(() => this.#tick(), 20) };
    this.#tick();
  }

  stopClock() {
    if (!this.#clock) return;
    clearInterval(this.#clock.timer);
    this.#clock = null;
    this.#port.send([0xfc]);
  }

  #tick() {
    for (; this.#clock.next < performance.now() + MidiOutput.#LEAD; this.#clock.next += this.#clock.interval) {
      this.#port.send([0xf8], this.#clock.next);
    }
  }

  #later(at, send) {
    return setTimeout(send, at - performance.now() - MidiOutput.#LEAD, at);
  }
}
