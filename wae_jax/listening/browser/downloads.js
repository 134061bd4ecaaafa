'use strict';
// Phrases as files: MIDI, exact to the tick, and WAV. Needs player.js.

const TICKS_PER_STEP = 40; // 480 a quarter note

function asciiBytes(text) {
  return [...text].map((character) => character.charCodeAt(0) & 0x7f);
}

const bigEndian = (value, bytes) => Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 0xff);

// A number as MIDI files write times: seven bits a byte, all but the last marked.
function variableLength(value) {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}

function meta(delta, type, bytes) {
  return [...variableLength(delta), 0xff, type, ...variableLength(bytes.length), ...bytes];
}

function midiChunk(name, bytes) {
  return [...asciiBytes(name), ...bigEndian(bytes.length, 4), ...bytes];
}

// A MIDI file of type 1 of phrases in a row: a track with title, tempo and metre, and one for each instrument, all of
// which end where the last phrase ends.
function midiFile(phrases, { tempo = 100, title = 'phrase', numSteps = PHRASE_STEPS } = {}) {
  const total = phrases.length * numSteps * TICKS_PER_STEP;
  const head = [
    ...meta(0, 0x03, [...new TextEncoder().encode(title)]),
    ...meta(0, 0x51, bigEndian(Math.round(60e6 / tempo), 3)),
    ...meta(0, 0x58, [4, 2, 24, 8]),
    ...meta(total, 0x2f, []),
  ];
  const chunks = [midiChunk('MTrk', head)];
  TRACKS.forEach(({ name, program, channel }, k) => {
    const events = [];
    phrases.forEach((notes, place) => {
      for (const [track, pitch, onset, length] of notes) {
        if (track !== k) continue;
        const start = (place * numSteps + onset) * TICKS_PER_STEP;
        events.push([start, 1, pitch], [start + length * TICKS_PER_STEP, 0, pitch]);
      }
    });
    // A note ends before its pitch is struck again.
    events.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    const bytes = [...meta(0, 0x03, asciiBytes(name)), 0, 0xc0 | channel, program];
    let now = 0;
    for (const [tick, begins, pitch] of events) {
      bytes.push(...variableLength(tick - now), (begins ? 0x90 : 0x80) | channel, pitch, begins ? 100 : 0);
      now = tick;
    }
    bytes.push(...meta(total - now, 0x2f, []));
    chunks.push(midiChunk('MTrk', bytes));
  });
  const header = midiChunk('MThd', [...bigEndian(1, 2), ...bigEndian(chunks.length, 2), ...bigEndian(480, 2)]);
  return Uint8Array.from([header, ...chunks].flat());
}

// A WAV file of 16 bits a sample, stereo, of an AudioBuffer.
function wavFile(buffer) {
  const channels = [0, buffer.numberOfChannels - 1].map((i) => buffer.getChannelData(i));
  const numBytes = buffer.length * 4;
  const view = new DataView(new ArrayBuffer(44 + numBytes));
  const text = (offset, word) => asciiBytes(word).forEach((byte, i) => view.setUint8(offset + i, byte));
  text(0, 'RIFF');
  view.setUint32(4, 36 + numBytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, buffer.sampleRate, true);
  view.setUint32(28, buffer.sampleRate * 4, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, numBytes, true);
  for (let i = 0, place = 44; i < buffer.length; i++) {
    for (const samples of channels) {
      view.setInt16(place, Math.round(32767 * Math.min(Math.max(samples[i], -1), 1)), true);
      place += 2;
    }
  }
  return new Uint8Array(view.buffer);
}

// Offers bytes or text as a file. Whatever the name holds, the file's name is plain.
function saveFile(content, name, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name.replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 80);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
