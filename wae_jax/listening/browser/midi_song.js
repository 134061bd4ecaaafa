'use strict';
// Reads MIDI files as songs, as data/build/song_files.py does. Needs sound.js, midi-file, midi_validation.js and
// song_keys.js.
//
// A song is {ticksPerBeat, notes, meters, tempos, keys, beginsWithPhrase, endTick}: notes {start, end, pitch, track}
// are arrays, in ticks, MIDI numbers and indices into TRACKS; meters [tick, numerator, denominator], tempos [tick,
// quarter notes a minute] and keys [tick, tonic, isMinor] are in order of their ticks. endTick is where the last track
// ends.

// What midi.py writes into files of several phrases, and what symusic, by which Python reads, counts to.
const PHRASES_TEXT = 'phrases of four bars from bar 1 on';
const LAST_TICK = 2 ** 31 - 1;
// The tempo before the first tempo event.
const DEFAULT_BPM = 120;

// The song in the bytes of a MIDI file. Throws a SongError.
function readSong(bytes) {
  const { ticksPerBeat, tracks } = validMidi(bytes);
  const song = { ticksPerBeat, meters: [], tempos: [], keys: [], beginsWithPhrase: false, endTick: 0 };
  const read = tracks.map((track) => readTrack(track, song));
  for (const events of [song.meters, song.tempos, song.keys]) events.sort((a, b) => a[0] - b[0]);
  song.tempos.unshift([0, DEFAULT_BPM]);
  const named = tracksByName(read.map(({ names }) => (names.size === 1 ? [...names][0] : null)));
  song.notes = joinNotes(read, named);
  if (song.notes.end.some((tick) => tick > LAST_TICK)) {
    throw new SongError(`unreadable: it has a note beyond tick ${LAST_TICK}, the last that is counted`);
  }
  return song;
}

// The events of one track of a file.
function parseTrack(track) {
  const head = midiChunk('MThd', [0, 0, 0, 1, 0, 1]);
  const length = [...asciiBytes('MTrk'), ...bigEndian(track.length, 4)];
  const bytes = new Uint8Array(head.length + length.length + track.length);
  bytes.set([...head, ...length]);
  bytes.set(track, head.length + length.length);
  return parseMidi(bytes).tracks[0];
}

// Adds the meters, tempos and keys of a track to a song. Returns {starts, ends, pitches, families, name, names}: of
// notes ticks, MIDI numbers and the tracks of their programs, or -1; the last name, and which of the five are among its
// names.
//
// The end of a note is that of the oldest one of its pitch and channel that is held; its program is that of its start.
function readTrack(track, song) {
  const read = { starts: [], ends: [], pitches: [], families: [], name: '', names: new Set() };
  const programs = new Array(16).fill(0);
  const held = new Map(); // starts and families by channel and pitch; the first `done` have ended
  let tick = 0;
  const handlers = {
    noteOn: ({ channel, noteNumber }) => {
      const key = channel * 128 + noteNumber;
      if (!held.has(key)) held.set(key, { starts: [], families: [], done: 0 });
      held.get(key).starts.push(tick);
      held.get(key).families.push(trackOfProgram(programs[channel], channel === 9));
    },
    noteOff: ({ channel, noteNumber }) => {
      const notes = held.get(channel * 128 + noteNumber);
      if (!notes || notes.done === notes.starts.length) return;
      read.starts.push(notes.starts[notes.done]);
      read.families.push(notes.families[notes.done]);
      read.ends.push(tick);
      read.pitches.push(noteNumber);
      notes.done += 1;
    },
    programChange: ({ channel, programNumber }) => { programs[channel] = programNumber; },
    trackName: ({ text }) => {
      read.name = text;
      if (TRACKS.some(({ name }) => name === text)) read.names.add(text);
    },
    text: ({ text }) => { song.beginsWithPhrase ||= text === PHRASES_TEXT; },
    setTempo: ({ microsecondsPerBeat }) => {
      if (microsecondsPerBeat > 0) song.tempos.push([tick, 6e7 / microsecondsPerBeat]);
    },
    timeSignature: ({ numerator, denominator }) => {
      const below = denominator & 0xff; // a larger one has no meaning
      if (numerator > 0 && below > 0) song.meters.push([tick, numerator, below]);
    },
    keySignature: ({ key, scale }) => {
      if (Math.abs(key) <= 7 && scale <= 1) song.keys.push([tick, ...keyOfSignature(key, scale === 1)]);
    },
  };
  for (const event of parseTrack(track)) {
    tick += event.deltaTime;
    handlers[event.type]?.(event);
  }
  song.endTick = Math.max(song.endTick, tick);
  return read;
}

// The notes of all tracks of a file that belong to one of the five.
function joinNotes(read, named) {
  const kept = read.map(({ name, families }) => families.map((family) => named.get(name) ?? family));
  const count = kept.reduce((sum, tracks) => sum + tracks.filter((track) => track >= 0).length, 0);
  const notes = {
    start: new Float64Array(count),
    end: new Float64Array(count),
    pitch: new Uint8Array(count),
    track: new Uint8Array(count),
  };
  let at = 0;
  read.forEach(({ starts, ends, pitches }, i) => kept[i].forEach((track, note) => {
    if (track < 0) return;
    notes.start[at] = starts[note];
    notes.end[at] = ends[note];
    notes.pitch[at] = pitches[note];
    notes.track[at] = track;
    at += 1;
  }));
  return notes;
}

// The index into TRACKS of a General MIDI program (from 0), by the rule of songs.py; -1 for one that is left out.
function trackOfProgram(program, isDrum) {
  if (isDrum) return 0;
  if (program >= 96) return program >= 104 && program < 112 ? 4 : -1;
  return { 0: 1, 3: 2, 4: 3 }[program >> 3] ?? 4;
}

// The index into TRACKS by name if each of the five is just once among the names of a file's tracks; else none.
function tracksByName(names) {
  const isEachOnce = TRACKS.every(({ name }) => names.filter((each) => each === name).length === 1);
  return new Map(isEachOnce ? TRACKS.map(({ name }, track) => [name, track]) : []);
}
