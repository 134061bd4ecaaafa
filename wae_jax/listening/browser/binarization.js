'use strict';
// The binarization rule of generation/binarization.py; both are tested with binarization_cases.json.

// The notes [track, pitch, onset, length] of a phrase, ordered by onset, track and pitch.
//
// `probabilities` are those of its cells, [steps * pitches * tracks] for the shape [steps, pitches, tracks]. A cell
// is active above the threshold of its track. Notes of pitched tracks shorter than `min_note_length` are dropped, unless
// a cell is above `short_note_thresholds` times the threshold. A track is silent if its expected number of active cells
// is below its gate.
function findNotes(probabilities, rule, [steps, pitches, tracks], lowestPitch) {
  const notes = [];
  const expectedCells = new Float64Array(tracks);
  for (let i = 0; i < probabilities.length; i += 1) expectedCells[i % tracks] += probabilities[i];
  for (let track = 0; track < tracks; track += 1) {
    if (expectedCells[track] < rule.track_gates[track]) continue;
    const isDrums = track === 0;
    const threshold = Math.fround(rule.thresholds[track]);
    const minLength = isDrums ? 1 : rule.min_note_length;
    const keepShort = Math.fround(rule.thresholds[track] * rule.short_note_thresholds[track]) || Infinity;
    for (let pitch = 0; pitch < pitches; pitch += 1) {
      let [onset, largest] = [-1, 0];
      for (let step = 0; step <= steps; step += 1) {
        const probability = step < steps ? probabilities[(step * pitches + pitch) * tracks + track] : -1;
        if (probability > threshold) {
          if (onset < 0) [onset, largest] = [step, 0];
          largest = Math.max(largest, probability);
        } else if (onset >= 0) {
          const length = step - onset;
          if (length >= minLength || largest > keepShort) notes.push([track, pitch + lowestPitch, onset, length]);
          onset = -1;
        }
      }
    }
  }
  return notes.sort((a, b) => a[2] - b[2] || a[0] - b[0] || a[1] - b[1]);
}
