'use strict';
// Keys of songs, and their distance from C major or A minor, as data/build/key_estimation.py and transposition.py find
// them. A key is [tonic, isMinor]; the tonic is a pitch class from 0 (C) to 11 (B).

// How well each pitch class, counted from the tonic, fits into a key: D. Temperley, Music Perception 17 (1999), 65-100.
const MAJOR_PROFILE = [5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0];
const MINOR_PROFILE = [5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0];
const MAJOR_SCALE = [0, 2, 4, 5, 7, 9, 11];
const PITCH_CLASSES = ['C', 'C#', 'D', 'Eb', 'E', 'F', 'F#', 'G', 'Ab', 'A', 'Bb', 'B'];
// By how much the best scale's share of a song may exceed that of its signature: of C major, which programs write where
// nobody chose a key, and of others.
const MARGIN_OF_DEFAULT = 0.01;
const MARGIN = 0.3;

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

const keyOfSignature = (sharps, isMinor) => [(7 * sharps + (isMinor ? 9 : 0) + 84) % 12, isMinor];

const relativeMajor = ([tonic, isMinor]) => (tonic + (isMinor ? 3 : 0)) % 12;

// Semitones up, from -6 to 5, that transpose a major key to C and a minor key to A.
const shiftToC = (key) => ((18 - relativeMajor(key)) % 12) - 6;

const keyName = ([tonic, isMinor]) => `${PITCH_CLASSES[tonic]} ${isMinor ? 'minor' : 'major'}`;

// How many ticks each pitch class sounds in some notes of a song, in any octave and on any track: notes that sound at
// the same time count once.
function soundingTimes({ start, end, pitch }, chosen) {
  const times = new Array(12).fill(0);
  const until = new Array(12).fill(0);
  for (const note of [...chosen].sort((a, b) => start[a] - start[b])) {
    const pitchClass = pitch[note] % 12;
    const stop = Math.max(end[note], start[note] + 1);
    times[pitchClass] += Math.max(stop - Math.max(start[note], until[pitchClass]), 0);
    until[pitchClass] = Math.max(until[pitchClass], stop);
  }
  return times;
}

// The key whose profile correlates best with how long each pitch class sounds; C major if none stands out.
function estimateKey(times) {
  const centred = times.map((time) => time - sumOf(times) / 12);
  const correlations = [MAJOR_PROFILE, MINOR_PROFILE].flatMap((profile) => {
    const weights = profile.map((weight) => weight - sumOf(profile) / 12);
    const norm = Math.hypot(...weights);
    return times.map((_, tonic) => sumOf(centred.map((time, i) => time * (weights[(i + 12 - tonic) % 12] / norm))));
  });
  // Keys that fit equally well differ only by rounding: the first one.
  const bound = Math.max(...correlations) - 1e-9 * (1 + Math.max(...times));
  const best = correlations.findIndex((correlation) => correlation >= bound);
  return [best % 12, best >= 12];
}

// The share of the time that the major scale on each pitch class holds; all 1 in silence.
function scaleShares(times) {
  const total = sumOf(times);
  return times.map((_, tonic) => (
    total === 0 ? 1 : sumOf(MAJOR_SCALE.map((step) => times[(tonic + step) % 12])) / total));
}

// Whether no other scale holds a clearly larger share of the notes than that of a signature, which may be one that a
// program wrote by default.
function signatureFits(times, key, isDefault) {
  const shares = scaleShares(times);
  return shares[relativeMajor(key)] >= Math.max(...shares) - (isDefault ? MARGIN_OF_DEFAULT : MARGIN);
}

// How the music of a song is transposed from each of some ticks on: {key, by, semitones}, up. The key is that of the
// signature which holds there, if that fits the notes under it; else it is estimated from the whole song.
function findTranspositions(song, ticks) {
  const signatures = newSignatures(song.keys);
  const isDefault = signatures.every(([, tonic, isMinor]) => tonic === 0 && !isMinor);
  const pitched = Array.from(song.notes.track.keys()).filter((note) => song.notes.track[note] !== 0);
  const sectionOf = (tick) => countUntil(signatures, tick);
  const transposition = (key, by) => ({ key: keyName(key), by, semitones: shiftToC(key) });
  const estimate = transposition(estimateKey(soundingTimes(song.notes, pitched)), 'as estimated');
  const sections = [[], ...signatures.map(() => [])];
  for (const note of pitched) sections[sectionOf(song.notes.start[note])].push(note);
  const found = signatures.map(([, ...key], i) => {
    const signed = transposition(key, 'by its key signature');
    const isRight = signed.semitones === estimate.semitones
      || signatureFits(soundingTimes(song.notes, sections[i + 1]), key, isDefault);
    return isRight ? signed : estimate;
  });
  return ticks.map((tick) => [estimate, ...found][sectionOf(tick)]);
}

// The signatures that say something new; of several at one tick, the last one holds.
function newSignatures(keys) {
  const last = keys.filter(([tick], i) => keys[i + 1]?.[0] !== tick);
  return last.filter(([, tonic, isMinor], i) => i === 0 || tonic !== last[i - 1][1] || isMinor !== last[i - 1][2]);
}

// How many events [tick, ...], in order, are at a tick or before it.
function countUntil(events, tick) {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle][0] <= tick) low = middle + 1;
    else high = middle;
  }
  return low;
}
