'use strict';
// Checks the bytes of MIDI files ("Standard MIDI Files 1.0", RP-001, 1996), as data/build/midi_validation.py does,
// before midi-file parses them: it trusts the lengths of chunks, takes any byte for data, and stops at events whose
// length it does not expect.

// Says what is wrong with a file, in words that follow its name.
class SongError extends Error {}

const MAX_MIDI_BYTES = 2 ** 24;
const MAX_TRACKS = 0xffff;
const END_OF_TRACK = [0xff, 0x2f, 0];
// An event without a meaning.
const NO_EVENT = [0xff, 0x7f, 0];
// The bytes that are read of events of these types: tempo, time signature, key signature.
const READ_BYTES = { 0x51: 3, 0x58: 2, 0x59: 2 };
// Text and the name of a track; no text that matters is longer.
const TEXTS = [0x01, 0x03];
const MAX_TEXT = 127;

const hexBytes = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

function checkSize(numBytes) {
  if (numBytes > MAX_MIDI_BYTES) {
    throw new SongError(`is a file of ${numBytes} bytes; expected at most ${MAX_MIDI_BYTES}`);
  }
}

// {ticksPerBeat, tracks}: each track has only events that are valid, of the lengths that midi-file expects, and ends
// with an end of track. Throws a SongError.
function validMidi(bytes) {
  const number = (at, size) => bytes.subarray(at, at + size).reduce((value, byte) => value * 256 + byte, 0);
  const isChunk = (at, name) => [...name].every((character, i) => bytes[at + i] === character.charCodeAt(0));
  const headerLength = number(4, 4);
  if (!isChunk(0, 'MThd') || bytes.length < 14 || headerLength < 6) {
    const start = hexBytes(bytes.subarray(0, 8)) || 'nothing';
    throw new SongError(`is no MIDI file: it is ${bytes.length} bytes that start with ${start}`);
  }
  const [format, division] = [number(8, 2), number(12, 2)];
  if (format > 1) {
    throw new SongError(`is a MIDI file of format ${format}, which is not one song; expected format 0 or 1`);
  }
  if (division & 0x8000) throw new SongError('counts its time in SMPTE frames; expected ticks a quarter note');
  if (division === 0) throw new SongError('has 0 ticks a quarter note; expected at least 1');
  const tracks = [];
  for (let start = 8 + headerLength; start + 8 <= bytes.length;) {
    const end = start + 8 + number(start + 4, 4);
    if (isChunk(start, 'MTrk')) {
      const name = `track ${tracks.length + 1}`;
      if (end > bytes.length) {
        throw new SongError(`is cut off: its ${name} ends at byte ${end}, the file at byte ${bytes.length}`);
      }
      tracks.push(validEvents(bytes, start + 8, end, name));
    }
    start = end;
  }
  if (tracks.length > MAX_TRACKS) throw new SongError(`has ${tracks.length} tracks; expected at most ${MAX_TRACKS}`);
  return { ticksPerBeat: division, tracks };
}

// The events from a byte to before another, up to the end of the track.
function validEvents(bytes, start, end, name) {
  // No event becomes longer; an end may be added.
  const valid = new Uint8Array(end - start + 1 + END_OF_TRACK.length);
  let size = 0;
  let copied = start; // up to which byte events are in `valid`
  const add = (events) => {
    valid.set(events, size);
    size += events.length;
  };
  const replace = (from, to, event) => {
    add(bytes.subarray(copied, from));
    add(event);
    copied = to;
  };
  let status = 0; // of the event before, which the next one may omit; 0 for none
  for (let at = start; at < end;) {
    const invalid = () => {
      const shown = hexBytes(bytes.subarray(at, Math.min(at + 8, end)));
      return new SongError(`unreadable: its ${name} has no valid event at byte ${at}, but ${shown}`);
    };
    const first = afterNumber(bytes, at, end);
    if (first === 0 || first === end) throw invalid();
    if (bytes[first] < 0xf0) {
      if (bytes[first] >= 0x80) status = bytes[first];
      const after = afterChannelEvent(bytes, first, status);
      if (after === 0 || after > end) throw invalid();
      at = after;
      continue;
    }
    status = 0;
    const isMeta = bytes[first] === 0xff;
    const isKnown = isMeta ? bytes[first + 1] < 0x80 : [0xf0, 0xf7].includes(bytes[first]);
    const lengthAt = first + (isMeta ? 2 : 1);
    const dataAt = afterNumber(bytes, lengthAt, end);
    if (!isKnown || dataAt === 0) throw invalid();
    const after = dataAt + bytes.subarray(lengthAt, dataAt).reduce((value, byte) => value * 128 + (byte & 0x7f), 0);
    if (after > end) throw new SongError(`unreadable: its ${name} ends inside the event at byte ${at}`);
    if (isMeta && bytes[first + 1] === END_OF_TRACK[1]) {
      replace(first, end, END_OF_TRACK);
      return valid.subarray(0, size);
    }
    replace(first, after, isMeta ? expectedEvent(bytes[first + 1], bytes.subarray(dataAt, after)) : [0xf0, 0]);
    at = after;
  }
  replace(end, end, [0, ...END_OF_TRACK]);
  return valid.subarray(0, size);
}

// The byte after a number of one to four bytes, all but the last of which have the top bit set; 0 if there is none.
function afterNumber(bytes, start, end) {
  for (let at = start; at < Math.min(start + 4, end); at += 1) {
    if (bytes[at] < 0x80) return at + 1;
  }
  return 0;
}

// The byte after the status, if there is one, and the data of an event; 0 if they are invalid.
function afterChannelEvent(bytes, first, status) {
  if (status === 0) return 0;
  const data = bytes[first] < 0x80 ? first : first + 1;
  const hasOne = status >= 0xc0 && status < 0xe0;
  return bytes[data] < 0x80 && (hasOne || bytes[data + 1] < 0x80) ? data + (hasOne ? 1 : 2) : 0;
}

// A meta event as midi-file expects it: as long as those of its type are, and without a meaning where it is not needed.
function expectedEvent(type, data) {
  const length = TEXTS.includes(type) ? data.length : READ_BYTES[type];
  if (length <= data.length && length <= MAX_TEXT) return [0xff, type, length, ...data.subarray(0, length)];
  // The last name of a track holds, however long it is.
  return type === 0x03 ? [0xff, type, 0] : NO_EVENT;
}
