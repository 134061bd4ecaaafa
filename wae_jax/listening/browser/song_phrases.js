'use strict';
// Cuts songs into phrases of four bars of 4/4, as data/build/segmentation.py does with the options by which
// build_dataset reads songs. Needs sound.js, midi_validation.js, song_bars.js and song_keys.js.

const HIGHEST_OF_MIDI = 127;

// The phrases of a song: {phrases, numLeftOut}. A phrase is {firstBar, tempo, notes, inC, transposition}: the bar of
// the song at which it begins, from 0; quarter notes a minute; its notes [track, pitch, onset, length] in the song's
// key, and those in C major or A minor, by which phrases are compared; and {key, by, semitones}, or null where nothing
// is transposed. Notes whose MIDI number is then not one of `pitches` from `lowestPitch` on are left out and counted.
// Throws a SongError if there is no phrase.
function cutSong(song, { pitches, lowestPitch, isInOneTonality }) {
  if (!song.notes.start.length) throw new SongError('has no notes on the five tracks');
  const { windows, spans, numBars } = findWindows(song);
  const isTransposed = isInOneTonality && song.notes.track.some((track) => track !== 0);
  const transpositions = isTransposed
    ? findTranspositions(song, windows.map(({ tick }) => tick)) : windows.map(() => null);
  const steps = stripSteps(song, spans);
  const windowOfBar = new Int32Array(numBars).fill(-1);
  windows.forEach(({ first }, window) => windowOfBar.fill(window, first, first + BARS_PER_PHRASE));
  const isInside = (pitch) => pitch >= lowestPitch && pitch < lowestPitch + pitches;
  const shifted = (notes, semitones) => notes
    .map(([track, pitch, ...rest]) => [track, pitch + (track === 0 ? 0 : semitones), ...rest])
    .filter(([, pitch]) => isInside(pitch));
  const tempos = tempoFinder(song);
  const phrases = notesOfWindows(mergeNotes(song.notes, steps), windows, windowOfBar).map((notes, i) => ({
    firstBar: windows[i].bar,
    tempo: tempos(windows[i].tick),
    notes: shifted(notes, 0),
    inC: shifted(notes, transpositions[i]?.semitones ?? 0),
    transposition: transpositions[i],
  })).filter(({ inC }) => inC.length);
  if (!phrases.length) {
    const range = `${lowestPitch} to ${lowestPitch + pitches - 1}`;
    throw new SongError(`has no note of MIDI numbers ${range} where there are four whole bars of 4/4 in a row`);
  }
  const numLeftOut = song.notes.pitch.filter((pitch, note) => {
    const window = windowOfBar[Math.floor(steps.start[note] / STEPS_PER_BAR)];
    return window >= 0 && !isInside(pitch + (song.notes.track[note] ? transpositions[window]?.semitones ?? 0 : 0));
  }).length;
  return { phrases, numLeftOut };
}

// The steps of the strip at which notes start and end; drums end where they start.
function stripSteps(song, spans) {
  // The first tick to which step 0 of a span is the nearest; time before the first span is counted from it too.
  const begins = spans.slice(1).map(({ tick }) => [tick - Math.floor(song.ticksPerBeat / (2 * STEPS_PER_BEAT))]);
  const stepOfTick = (tick) => {
    const span = spans[countUntil(begins, tick)];
    const step = Math.min(stepOf(song, tick - span.tick), STEPS_PER_BAR * span.numBars);
    return Math.max(step, -1) + STEPS_PER_BAR * span.first;
  };
  const start = song.notes.start.map(stepOfTick);
  const end = song.notes.end.map((tick, note) => (song.notes.track[note] === 0 ? start[note] : stepOfTick(tick)));
  return { start, end };
}

// Runs {track, pitch, start, stop, isPaused} of active steps, by track and pitch, then start: a step is active while a
// note sounds, except for the one before the start of another, which is then inactive only because of a pause. The
// first step of a note is always active.
function mergeNotes({ pitch, track }, { start, end }) {
  const scale = Math.max(start.reduce((a, b) => Math.max(a, b), 0), end.reduce((a, b) => Math.max(a, b), 0)) + 2;
  // A note as one number, so that many are sorted soon; there are fewer than 2 ** 10 lines and 2 ** 19 steps.
  const ordered = start.map((from, note) => (
    ((track[note] * (HIGHEST_OF_MIDI + 1) + pitch[note]) * scale + from) * scale + end[note])).sort();
  const lineAt = (note) => Math.floor(ordered[note] / scale / scale);
  const startAt = (note) => Math.floor(ordered[note] / scale) % scale;
  const runs = [];
  let [line, latestEnd] = [-1, 0];
  for (let note = 0; note < ordered.length; note += 1) {
    if (lineAt(note) !== line) [line, latestEnd] = [lineAt(note), 0];
    const from = startAt(note);
    latestEnd = Math.max(latestEnd, ordered[note] % scale);
    const isLast = note + 1 === ordered.length || lineAt(note + 1) !== line;
    const following = isLast ? Infinity : startAt(note + 1);
    const until = Math.min(Math.max(latestEnd, from + 1), following);
    const stop = Math.max(Math.min(until, following - 1), Math.min(from + 1, following));
    if (stop > from) {
      runs.push({
        track: Math.floor(line / (HIGHEST_OF_MIDI + 1)), pitch: line % (HIGHEST_OF_MIDI + 1),
        start: from, stop, isPaused: stop < until,
      });
    }
  }
  return runs;
}

// The notes of each window, ordered by onset, track and pitch: consecutive active steps are one note.
function notesOfWindows(runs, windows, windowOfBar) {
  const found = windows.map(() => []);
  for (const { track, pitch, start, stop, isPaused } of runs) {
    for (let from = start; from < stop;) {
      const window = windowOfBar[Math.floor(from / STEPS_PER_BAR)];
      const begin = window < 0 ? 0 : windows[window].first * STEPS_PER_BAR;
      const end = window < 0 ? (Math.floor(from / STEPS_PER_BAR) + 1) * STEPS_PER_BAR : begin + PHRASE_STEPS;
      if (window >= 0) {
        // Before a note of the next window there is no pause in this one.
        const to = Math.min(isPaused && stop + 1 === end ? end : stop, end);
        const last = found[window].at(-1);
        if (last?.[0] === track && last[1] === pitch && last[2] + last[3] === from - begin) last[3] += to - from;
        else found[window].push([track, pitch, from - begin, to - from]);
      }
      from = end;
    }
  }
  return found.map((notes) => notes.sort((a, b) => a[2] - b[2] || a[0] - b[0] || a[1] - b[1]));
}

// A function of the tick at which a phrase begins: the tempo that lasts longest in it.
function tempoFinder({ tempos, ticksPerBeat }) {
  return (begin) => {
    const end = begin + BARS_PER_PHRASE * 4 * ticksPerBeat;
    const first = Math.max(countUntil(tempos, begin) - 1, 0);
    const lasts = new Map();
    for (let i = first; i < tempos.length && (i === first || tempos[i][0] < end); i += 1) {
      const from = i === first ? begin : tempos[i][0];
      const until = Math.min(tempos[i + 1]?.[0] ?? end, end);
      lasts.set(tempos[i][1], (lasts.get(tempos[i][1]) ?? 0) + until - from);
    }
    const longest = Math.max(...lasts.values());
    return [...lasts].find(([, ticks]) => ticks === longest)[0];
  };
}
