'use strict';
// The bars of songs, and the windows of four that become phrases, as data/build/songs.py and segmentation.py find them.
// Needs sound.js, midi_validation.js and midi_song.js.

const BARS_PER_PHRASE = PHRASE_STEPS / STEPS_PER_BAR;
// About three hours. A file of a few bytes can claim millions.
const MAX_BARS = 5000;
const MAX_METERS_NAMED = 5;

// The tick at which the last note ends; a note lasts at least one tick.
function lastTick({ notes: { start, end } }) {
  return end.reduce((last, tick, note) => Math.max(last, tick, start[note] + 1), 0);
}

// The step nearest to a tick, both counted from the same bar line; halves are rounded up.
function stepOf({ ticksPerBeat }, tick) {
  return Math.floor((2 * STEPS_PER_BEAT * tick + ticksPerBeat) / (2 * ticksPerBeat));
}

// The bars of a song as runs of whole bars of one meter, {tick, firstBar, numBars, meter}. A meter inside a bar starts
// a new one there; the bar that it cuts is counted, but in no run. Silence after the last note is counted up to four
// bars. Throws a SongError if there are more than MAX_BARS.
function findStretches(song) {
  const last = lastTick(song);
  const end = Math.max(last, Math.min(song.endTick, last + BARS_PER_PHRASE * 4 * song.ticksPerBeat));
  // Of several meters at one tick the last one holds, and none after the last note.
  const meters = new Map([[0, [4, 4]]]);
  for (const [tick, ...meter] of song.meters) if (tick < last) meters.set(tick, meter);
  // The whole bars of a meter in some ticks, and whether there is more; a bar need not last a whole number of ticks.
  const bars = ([above, below], ticks) => {
    const bar = 4 * song.ticksPerBeat * above;
    return [Math.floor((ticks * below) / bar), (ticks * below) % bar > 0];
  };
  const changes = [];
  for (const [tick, meter] of meters) {
    const before = changes.at(-1);
    const isRepeated = before && `${before.meter}` === `${meter}` && !bars(meter, tick - before.tick)[1];
    if (!isRepeated) changes.push({ tick, meter });
  }
  const found = [];
  let firstBar = 0;
  changes.forEach(({ tick, meter }, i) => {
    const until = changes[i + 1]?.tick ?? end;
    const [whole, isMore] = bars(meter, until - tick);
    // The bar in which the song ends counts as a whole one.
    const numBars = whole + (isMore && until === end ? 1 : 0);
    if (numBars) found.push({ tick, firstBar, numBars, meter: meter.join('/') });
    firstBar += whole + (isMore ? 1 : 0);
  });
  if (firstBar > MAX_BARS) throw new SongError(`has ${firstBar} bars; expected at most ${MAX_BARS}`);
  return found;
}

// The first bars of the windows of a stretch, counted from its beginning: every four bars, one of them with the bar of
// the song's first note; or from the first bar on, if the last notes would else be in none, or the file says so. The
// ticks are those of the song's notes.
function windowBars(song, stretch, [first, last]) {
  const [firstStep, lastStep] = [first, last].map((tick) => stepOf(song, tick - stretch.tick));
  const firstWithNote = Math.floor(Math.max(0, firstStep) / STEPS_PER_BAR);
  const afterNotes = Math.ceil(lastStep / STEPS_PER_BAR);
  const count = (offset) => Math.max(0, Math.floor((stretch.numBars - offset) / BARS_PER_PHRASE));
  const covered = (offset) => (
    count(offset) ? Math.min(afterNotes, offset + count(offset) * BARS_PER_PHRASE) : 0);
  const ofNotes = song.beginsWithPhrase ? 0 : firstWithNote % BARS_PER_PHRASE;
  const offset = covered(0) > covered(ofNotes) ? 0 : ofNotes;
  return Array.from({ length: count(offset) }, (_, i) => offset + i * BARS_PER_PHRASE);
}

// Where the phrases of a song are: {windows, spans, numBars}. A window is {tick, bar, first}: where it begins in the
// song, its first bar there, and in a strip that has the bars of all windows. A span is {tick, first, numBars},
// consecutive windows; before each and after the last one the strip has a bar for everything else, and numBars is that
// of the strip. Throws a SongError if there are no windows.
function findWindows(song) {
  const stretches = findStretches(song);
  const ticks = [song.notes.start.reduce((least, tick) => Math.min(least, tick), Infinity), lastTick(song)];
  const [windows, spans] = [[], []];
  let first = 1;
  for (const stretch of stretches.filter(({ meter }) => meter === '4/4')) {
    const bars = windowBars(song, stretch, ticks);
    if (!bars.length) continue;
    const found = bars.map((bar) => ({
      tick: stretch.tick + bar * 4 * song.ticksPerBeat, bar: stretch.firstBar + bar, first: first + bar - bars[0],
    }));
    const numBars = bars.length * BARS_PER_PHRASE;
    spans.push({ tick: found[0].tick, first, numBars });
    windows.push(...found);
    first += numBars + 1;
  }
  if (!windows.length) {
    throw new SongError(`has no four whole bars of 4/4 in a row: its meters are ${describeMeters(stretches)}`);
  }
  return { windows, spans, numBars: first };
}

function describeMeters(stretches) {
  const counts = new Map();
  for (const { meter, numBars } of stretches) counts.set(meter, (counts.get(meter) ?? 0) + numBars);
  const named = [...counts].map(([meter, count]) => `${meter} (${count} bar${count > 1 ? 's' : ''})`);
  const more = named.length - MAX_METERS_NAMED;
  return [...named.slice(0, MAX_METERS_NAMED), ...(more > 0 ? [`${more} more`] : [])].join(', ');
}
