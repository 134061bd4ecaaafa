'use strict';
// Phrases in another key, as in pianoroll/transposition.py.

// The notes of a phrase whose pitched tracks are moved up by some semitones. Those that would leave the `pitches` from
// `lowestPitch` on, whole octaves, are moved by as few octaves as bring them back, and joined with others that they
// meet.
function transposeNotes(notes, semitones, { pitches, lowestPitch }) {
  if (semitones === 0) return notes;
  const moved = notes.map(([track, pitch, onset, length]) => {
    if (track === 0) return [track, pitch, onset, length];
    const up = pitch + semitones - lowestPitch;
    const inside = up < 0 || up >= pitches ? (((up % 12) + 12) % 12) + (semitones < 0 ? 0 : pitches - 12) : up;
    return [track, inside + lowestPitch, onset, length];
  });
  moved.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  const joined = [];
  for (const note of moved) {
    const last = joined.at(-1);
    const isApart = !last || last[0] !== note[0] || last[1] !== note[1] || note[2] > last[2] + last[3];
    if (isApart) joined.push(note);
    else last[3] = Math.max(last[3], note[2] + note[3] - last[2]);
  }
  return joined.sort((a, b) => a[2] - b[2] || a[0] - b[0] || a[1] - b[1]);
}
