'use strict';
// The sound of phrases through Web Audio. Needs voices.js.
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
