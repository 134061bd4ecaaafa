'use strict';
// Draws phrases. Needs voices.js and player.js.

// The rows of a picture: pitched tracks share one strip over their range, the drums lie in families below.
const DRUM_ROWS = ['kick', 'snare', 'tom', 'hat', 'cymbal', 'other'];

function drawRoll(canvas, notes, { numSteps = PHRASE_STEPS, position = null, isDark = false } = {}) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || canvas.width;
  const height = canvas.clientHeight || canvas.height;
  const [pixelsWide, pixelsHigh] = [Math.round(width * ratio), Math.round(height * ratio)];
  // Setting a size clears a canvas and makes it anew, which is slow.
  if (canvas.width !== pixelsWide || canvas.height !== pixelsHigh) {
    canvas.width = pixelsWide;
    canvas.height = pixelsHigh;
  }
  const brush = canvas.getContext('2d');
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.fillStyle = isDark ? '#22252d' : '#f5f6f8';
  brush.fillRect(0, 0, width, height);
  for (let step = 0; step <= numSteps; step += STEPS_PER_BEAT) {
    const isBar = step % STEPS_PER_BAR === 0;
    brush.fillStyle = isDark ? (isBar ? '#4a4f5c' : '#2e323c') : isBar ? '#b4b8c1' : '#e6e8ec';
    brush.fillRect(Math.min((step / numSteps) * width, width - 1), 0, 1, height);
  }
  const pitches = notes.filter((note) => note[0] !== 0).map((note) => note[1]);
  let lowest = pitches.reduce((a, b) => Math.min(a, b), 127) - 1;
  let highest = pitches.reduce((a, b) => Math.max(a, b), 0) + 1;
  if (!pitches.length) [lowest, highest] = [48, 72];
  // At least two octaves, so that a phrase of few pitches does not look like one of many.
  const missing = Math.max(0, 24 - (highest - lowest));
  lowest -= Math.floor(missing / 2);
  highest += Math.ceil(missing / 2);
  const hasDrums = notes.some((note) => note[0] === 0);
  const drumHeight = hasDrums ? Math.min(0.3 * height, 60) : 0;
  const gap = hasDrums ? 4 : 0;
  const row = (height - drumHeight - gap) / (highest - lowest + 1);
  const drumRow = drumHeight / DRUM_ROWS.length;
  const order = [4, 1, 2, 3, 0]; // the pads of the strings lie behind
  for (const track of order) {
    brush.fillStyle = TRACKS[track][isDark ? 'dark' : 'light'];
    for (const [of, pitch, onset, length] of notes) {
      if (of !== track) continue;
      const x = (onset / numSteps) * width;
      if (track === 0) {
        const y = height - (DRUM_ROWS.indexOf(drumKind(pitch)) + 1) * drumRow;
        brush.fillRect(x, y + 0.1 * drumRow, Math.max(2, (2 / numSteps) * width), 0.8 * drumRow);
      } else {
        const wide = Math.max(1.5, (length / numSteps) * width - 0.7);
        // A little apart, or one of two tracks in unison would hide the other.
        const shift = (2.5 - track) * 0.3 * row;
        brush.fillRect(x, (highest - pitch) * row + shift, wide, Math.max(1.5, 0.8 * row));
      }
    }
  }
  if (position !== null) {
    brush.fillStyle = isDark ? '#ffffff' : '#c4161c';
    brush.fillRect(Math.min((position / numSteps) * width, width - 2) - 0.5, 0, 2, height);
  }
}
