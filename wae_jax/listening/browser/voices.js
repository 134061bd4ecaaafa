'use strict';
// The five instruments, synthesized from oscillators and noise. Each voice is a function
// (context, pitch, when, seconds) -> {output, sources, end}: the node to connect, the nodes that end it early when they
// are stopped, and the time after which it is silent.

const VOICE_GAINS = [0.55, 0.34, 0.4, 0.42, 0.13];

const hertz = (pitch) => 440 * 2 ** ((pitch - 69) / 12);

// Noise and plucked strings, made once for each sample rate; the same in every browser.
const voiceBuffers = new Map();

function cachedBuffer(context, name, seconds, fill) {
  const key = `${name} ${context.sampleRate}`;
  if (!voiceBuffers.has(key)) {
    const buffer = new AudioBuffer({ length: Math.ceil(seconds * context.sampleRate), sampleRate: context.sampleRate });
    fill(buffer.getChannelData(0));
    voiceBuffers.set(key, buffer);
  }
  return voiceBuffers.get(key);
}

function fillWithNoise(samples) {
  let state = 22222;
  for (let i = 0; i < samples.length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    samples[i] = state / 2 ** 31 - 1;
  }
}

const noiseBuffer = (context) => cachedBuffer(context, 'noise', 2, fillWithNoise);

// A plucked string (Karplus and Strong, Computer Music Journal 7.2, 1983): noise in a delay line that is averaged in
// each round, so that high partials decay first.
function pluckBuffer(context, pitch) {
  return cachedBuffer(context, `pluck ${pitch}`, 2.5, (samples) => {
    const period = Math.round(context.sampleRate / hertz(pitch));
    const noise = new Float32Array(period);
    fillWithNoise(noise);
    let last = 0;
    for (let i = 0; i < period; i += 1) samples[i] = last = 0.5 * last + 0.5 * noise[i];
    // An offset would not decay, since averaging keeps it.
    const offset = samples.subarray(0, period).reduce((sum, x) => sum + x, 0) / period;
    for (let i = 0; i < period; i += 1) samples[i] -= offset;
    for (let i = period; i < samples.length; i += 1) {
      const before = i > period ? samples[i - period - 1] : 0;
      samples[i] = 0.997 * 0.5 * (samples[i - period] + before);
    }
  });
}

function oscillator(context, type, frequency, when, end) {
  const node = new OscillatorNode(context, { type, frequency });
  node.start(when);
  node.stop(end);
  return node;
}

function noise(context, when, end) {
  const node = new AudioBufferSourceNode(context, { buffer: noiseBuffer(context), loop: true });
  node.start(when);
  node.stop(end);
  return node;
}

// Rises to `peak`, falls to `sustain` with time constant `decay`, and is released after `seconds`.
function envelope(context, when, seconds, { peak = 1, attack = 0.004, decay = 0.3, sustain = 0, release = 0.05 }) {
  const node = new GainNode(context, { gain: 0 });
  const top = Math.min(attack, seconds);
  node.gain.setValueAtTime(0, when);
  node.gain.linearRampToValueAtTime(peak, when + top);
  node.gain.setTargetAtTime(peak * sustain, when + top, decay);
  node.gain.setTargetAtTime(0, when + seconds, release / 4);
  return node;
}

function chain(...nodes) {
  for (let i = 1; i < nodes.length; i += 1) nodes[i - 1].connect(nodes[i]);
  return nodes[nodes.length - 1];
}

function playPiano(context, pitch, when, seconds) {
  const end = when + seconds + 0.3;
  const frequency = hertz(pitch);
  const filter = new BiquadFilterNode(context, { type: 'lowpass', frequency: Math.min(9000, 6 * frequency), Q: 0.3 });
  filter.frequency.setTargetAtTime(Math.min(4000, 2 * frequency), when, 0.25);
  const output = envelope(context, when, seconds, { decay: 1.6 * 2 ** ((48 - pitch) / 24), release: 0.2 });
  const body = oscillator(context, 'triangle', frequency, when, end);
  // A second, slightly sharp string, and the octave of the hammer.
  const shine = oscillator(context, 'sawtooth', frequency * 1.0008, when, end);
  const octave = oscillator(context, 'sine', 2 * frequency, when, end);
  chain(body, filter, output);
  chain(shine, new GainNode(context, { gain: 0.25 }), filter);
  chain(octave, new GainNode(context, { gain: 0.2 }), filter);
  return { output, sources: [body, shine, octave], end };
}

function playGuitar(context, pitch, when, seconds) {
  const buffer = pluckBuffer(context, pitch);
  // The delay line has a whole number of samples and sounds half a sample longer; the playback rate corrects both.
  const played = context.sampleRate / (Math.round(context.sampleRate / hertz(pitch)) + 0.5);
  const source = new AudioBufferSourceNode(context, { buffer, playbackRate: hertz(pitch) / played });
  const end = when + seconds + 0.2;
  source.start(when);
  source.stop(end);
  const output = envelope(context, when, seconds, { attack: 0.002, sustain: 1, release: 0.12 });
  chain(source, output);
  return { output, sources: [source], end };
}

function playBass(context, pitch, when, seconds) {
  const end = when + seconds + 0.12;
  const frequency = hertz(pitch);
  const filter = new BiquadFilterNode(context, { type: 'lowpass', frequency: 1200, Q: 1 });
  filter.frequency.setTargetAtTime(Math.max(250, 3 * frequency), when, 0.08);
  const output = envelope(context, when, seconds, { attack: 0.006, decay: 0.8, sustain: 0.4, release: 0.08 });
  const ground = oscillator(context, 'triangle', frequency, when, end);
  const growl = oscillator(context, 'sawtooth', frequency, when, end);
  chain(ground, filter, output);
  chain(growl, new GainNode(context, { gain: 0.4 }), filter);
  return { output, sources: [ground, growl], end };
}

function playStrings(context, pitch, when, seconds) {
  const end = when + seconds + 0.45;
  const frequency = hertz(pitch);
  const filter = new BiquadFilterNode(context, { type: 'lowpass', frequency: Math.min(5000, 900 + 3 * frequency) });
  const output = envelope(context, when, seconds, { attack: 0.07, decay: 1, sustain: 0.85, release: 0.35 });
  const sources = [0.997, 1, 1.003].map((part) => oscillator(context, 'sawtooth', part * frequency, when, end));
  for (const source of sources) source.connect(filter);
  chain(filter, output);
  return { output, sources, end };
}

// A drum skin: a tone that falls from `high` to `low` hertz.
function skin(context, when, { high, low, fall, decay, peak = 1 }) {
  const end = when + 8 * decay;
  const source = oscillator(context, 'sine', high, when, end);
  source.frequency.setValueAtTime(high, when);
  source.frequency.setTargetAtTime(low, when, fall);
  const output = envelope(context, when, 6 * decay, { peak, attack: 0.001, decay });
  chain(source, output);
  return { output, sources: [source], end };
}

// Filtered noise.
function hiss(context, when, { type, frequency, q = 0.7, decay, peak = 1 }) {
  const end = when + 8 * decay;
  const source = noise(context, when, end);
  const output = envelope(context, when, 6 * decay, { peak, attack: 0.001, decay });
  chain(source, new BiquadFilterNode(context, { type, frequency, Q: q }), output);
  return { output, sources: [source], end };
}

function together(context, ...parts) {
  const output = new GainNode(context);
  for (const part of parts) part.output.connect(output);
  return { output, sources: parts.flatMap((part) => part.sources), end: Math.max(...parts.map((part) => part.end)) };
}

const TOM_HERTZ = new Map([[41, 82], [43, 98], [45, 117], [47, 139], [48, 165], [50, 196]]);

// Kinds of drums by their General MIDI numbers.
function drumKind(pitch) {
  if (pitch === 35 || pitch === 36) return 'kick';
  if (pitch >= 37 && pitch <= 40) return 'snare';
  if (TOM_HERTZ.has(pitch)) return 'tom';
  if (pitch === 42 || pitch === 44 || pitch === 46) return 'hat';
  if ([49, 51, 52, 53, 55, 57, 59].includes(pitch)) return 'cymbal';
  return 'other';
}

const DRUMS = {
  kick: (context, pitch, when) =>
    together(
      context,
      skin(context, when, { high: 150, low: 46, fall: 0.03, decay: 0.12, peak: 1.5 }),
      hiss(context, when, { type: 'lowpass', frequency: 2500, decay: 0.006, peak: 0.4 }),
    ),
  snare: (context, pitch, when) => {
    // 37, a rim shot, and 39, a clap, have less of the skin and are drier.
    const isDry = pitch === 37 || pitch === 39;
    return together(
      context,
      skin(context, when, { high: 260, low: 185, fall: 0.02, decay: 0.05, peak: isDry ? 0.2 : 0.7 }),
      hiss(context, when, {
        type: isDry ? 'bandpass' : 'highpass', frequency: 1600, decay: isDry ? 0.03 : 0.08, peak: 0.7,
      }),
    );
  },
  tom: (context, pitch, when) => {
    const low = TOM_HERTZ.get(pitch);
    return skin(context, when, { high: 1.7 * low, low, fall: 0.05, decay: 0.16, peak: 1 });
  },
  hat: (context, pitch, when) =>
    hiss(context, when, { type: 'highpass', frequency: 7500, decay: pitch === 46 ? 0.16 : 0.03, peak: 0.5 }),
  cymbal: (context, pitch, when) => {
    const isRide = pitch === 51 || pitch === 53 || pitch === 59;
    return hiss(context, when, {
      type: 'highpass', frequency: isRide ? 6000 : 4000, decay: isRide ? 0.2 : 0.4, peak: isRide ? 0.3 : 0.5,
    });
  },
  other: (context, pitch, when) => {
    const low = 38 * 2 ** (pitch / 16);
    return skin(context, when, { high: (40 / 38) * low, low, fall: 0.01, decay: 0.04, peak: 0.6 });
  },
};

const playDrum = (context, pitch, when) => DRUMS[drumKind(pitch)](context, pitch, when);

const VOICES = [playDrum, playPiano, playGuitar, playBass, playStrings];
