'use strict';
// Pictures of phrases. Needs sound.js.

// The rows below the pitched tracks, from the bottom.
const DRUM_ROWS = ['kick', 'snare', 'tom', 'hat', 'cymbal', 'other'];
// From the back to the front: the long notes of the strings would hide the others.
const DRAWING_ORDER = [4, 1, 2, 3, 0];

// The number of notes of each track as text; empty for a silent phrase.
function describeNotes(notes) {
  const counts = TRACKS.map(({ name }, k) => [name, notes.filter(([track]) => track === k).length]);
  return counts.filter(([, count]) => count).map(([name, count]) => `${name} ${count}`).join(', ');
}

// The lowest and the highest pitch to draw: at least two octaves, so that few pitches look like few.
function pitchRange(notes) {
  const pitches = notes.filter(([track]) => track !== 0).map(([, pitch]) => pitch);
  if (!pitches.length) return [48, 72];
  const [lowest, highest] = [Math.min(...pitches) - 1, Math.max(...pitches) + 1];
  const missing = Math.max(0, 24 - (highest - lowest));
  return [lowest - Math.floor(missing / 2), highest + Math.ceil(missing / 2)];
}

// Sets the size of a canvas in pixels of the screen; returns its drawing context, and its size in pixels of the page.
function prepareCanvas(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || canvas.width, canvas.clientHeight || canvas.height];
  const [pixelsWide, pixelsHigh] = [Math.round(width * ratio), Math.round(height * ratio)];
  // Setting a size clears a canvas and allocates it anew, which is slow.
  if (canvas.width !== pixelsWide || canvas.height !== pixelsHigh) {
    canvas.width = pixelsWide;
    canvas.height = pixelsHigh;
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

// Draws a phrase; `position` is the step that is playing, or null.
function drawPianoRoll(canvas, notes, { position = null, isDark = false } = {}) {
  const { context, width, height } = prepareCanvas(canvas);
  const fill = (color, ...box) => {
    context.fillStyle = color;
    context.fillRect(...box);
  };
  fill(isDark ? '#22252d' : '#f5f6f8', 0, 0, width, height);
  const [barLine, beatLine] = isDark ? ['#4a4f5c', '#2e323c'] : ['#b4b8c1', '#e6e8ec'];
  for (let step = 0; step <= PHRASE_STEPS; step += STEPS_PER_BEAT) {
    const x = Math.min((step / PHRASE_STEPS) * width, width - 1);
    fill(step % STEPS_PER_BAR === 0 ? barLine : beatLine, x, 0, 1, height);
  }
  const [lowest, highest] = pitchRange(notes);
  const hasDrums = notes.some(([track]) => track === 0);
  const drumRow = hasDrums ? Math.min(0.3 * height, 60) / DRUM_ROWS.length : 0;
  const row = (height - drumRow * DRUM_ROWS.length - (hasDrums ? 4 : 0)) / (highest - lowest + 1);
  for (const k of DRAWING_ORDER) {
    const color = TRACKS[k][isDark ? 'dark' : 'light'];
    for (const [track, pitch, onset, length] of notes) {
      if (track !== k) continue;
      const x = (onset / PHRASE_STEPS) * width;
      if (k === 0) {
        const y = height - (DRUM_ROWS.indexOf(drumKind(pitch)) + 1) * drumRow;
        fill(color, x, y + 0.1 * drumRow, Math.max(2, (2 / PHRASE_STEPS) * width), 0.8 * drumRow);
      } else {
        // A little apart, so that of two tracks in unison both are seen.
        const y = (highest - pitch) * row + (2.5 - k) * 0.3 * row;
        fill(color, x, y, Math.max(1.5, (length / PHRASE_STEPS) * width - 0.7), Math.max(1.5, 0.8 * row));
      }
    }
  }
  if (position !== null) {
    const x = Math.min((position / PHRASE_STEPS) * width, width - 2) - 0.5;
    fill(isDark ? '#ffffff' : '#c4161c', x, 0, 2, height);
  }
}
