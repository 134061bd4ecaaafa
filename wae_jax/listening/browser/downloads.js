'use strict';
// Phrases as files: MIDI and WAV. Needs sound.js.

const TICKS_PER_BEAT = 480;
const TICKS_PER_STEP = TICKS_PER_BEAT / STEPS_PER_BEAT;

const asciiBytes = (text) => [...text].map((character) => character.charCodeAt(0) & 0x7f);

const bigEndian = (value, bytes) => Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 0xff);

// A number as in MIDI files: seven bits a byte, all but the last byte with the high bit set.
function variableLength(value) {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}

const meta = (delta, type, bytes) => [...variableLength(delta), 0xff, type, ...variableLength(bytes.length), ...bytes];

const midiChunk = (name, bytes) => [...asciiBytes(name), ...bigEndian(bytes.length, 4), ...bytes];

// A MIDI file of type 1 with phrases one after the other: a track with title, tempo and meter, and one for each
// instrument; all end where the last phrase ends.
function midiFile(phrases, { tempo, title }) {
  const total = phrases.length * PHRASE_STEPS * TICKS_PER_STEP;
  const head = [
    ...meta(0, 0x03, [...new TextEncoder().encode(title)]),
    ...meta(0, 0x51, bigEndian(Math.round(60e6 / tempo), 3)),
    ...meta(0, 0x58, [4, 2, 24, 8]),
    ...meta(total, 0x2f, []),
  ];
  const instruments = TRACKS.map(({ name, program, channel }, k) => {
    const events = phrases.flatMap((notes, i) => notes.filter(([track]) => track === k).flatMap(
      ([, pitch, onset, length]) => {
        const start = (i * PHRASE_STEPS + onset) * TICKS_PER_STEP;
        return [[start, 1, pitch], [start + length * TICKS_PER_STEP, 0, pitch]];
      },
    ));
    // A note ends before the next one of its pitch begins.
    events.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    const bytes = [...meta(0, 0x03, asciiBytes(name)), 0, 0xc0 | channel, program];
    let now = 0;
    for (const [tick, isOnset, pitch] of events) {
      bytes.push(...variableLength(tick - now), (isOnset ? 0x90 : 0x80) | channel, pitch, isOnset ? 100 : 0);
      now = tick;
    }
    return [...bytes, ...meta(total - now, 0x2f, [])];
  });
  const chunks = [head, ...instruments].map((bytes) => midiChunk('MTrk', bytes));
  const header = [1, chunks.length, TICKS_PER_BEAT].flatMap((value) => bigEndian(value, 2));
  return Uint8Array.from([midiChunk('MThd', header), ...chunks].flat());
}

// A stereo WAV file with 16 bits a sample from an AudioBuffer.
function wavFile(buffer) {
  const channels = [0, buffer.numberOfChannels - 1].map((i) => buffer.getChannelData(i));
  const numBytes = buffer.length * 4;
  const view = new DataView(new ArrayBuffer(44 + numBytes));
  let at = 0;
  const text = (word) => asciiBytes(word).forEach((byte) => view.setUint8(at++, byte));
  const int32 = (value) => { view.setUint32(at, value, true); at += 4; };
  const int16 = (value) => { view.setInt16(at, value, true); at += 2; };
  text('RIFF');
  int32(36 + numBytes);
  text('WAVEfmt ');
  int32(16); // bytes of this chunk
  int16(1); // PCM
  int16(2); // channels
  int32(buffer.sampleRate);
  int32(buffer.sampleRate * 4);
  int16(4); // bytes of a sample of both channels
  int16(16); // bits of a sample
  text('data');
  int32(numBytes);
  for (let i = 0; i < buffer.length; i += 1) {
    for (const samples of channels) int16(Math.round(32767 * Math.min(Math.max(samples[i], -1), 1)));
  }
  return new Uint8Array(view.buffer);
}

// A name of a file: other characters than letters, digits, dots and hyphens are replaced.
const fileName = (name, ending) => `${name.replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 80)}.${ending}`;

// Offers bytes or text as a file.
function saveFile(content, name, ending, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = fileName(name, ending);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function saveMidi(phrases, name, tempo) {
  saveFile(midiFile(phrases, { tempo, title: name }), name, 'mid', 'audio/midi');
}

// Lets an element be dragged out of the page as a MIDI file. `content()` gives {phrases, name, tempo} when that begins.
function dragAsMidi(element, content) {
  element.setAttribute('draggable', 'true');
  element.addEventListener('dragstart', (event) => {
    const { phrases, name, tempo } = content();
    const bytes = midiFile(phrases, { tempo, title: name });
    const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    event.dataTransfer.effectAllowed = 'copy';
    // Chrome and Edge make a file of it wherever it is dropped; programs that take files from other browsers read the
    // second.
    const url = `data:audio/midi;base64,${text}`;
    event.dataTransfer.setData('DownloadURL', `audio/midi:${fileName(name, 'mid')}:${url}`);
    event.dataTransfer.items.add(new File([bytes], fileName(name, 'mid'), { type: 'audio/midi' }));
  });
}
