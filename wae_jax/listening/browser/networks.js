'use strict';
// A trained encoder and decoder, from the data of latent_panel.py. Needs layers.js.

class Decoder {
  #layers;

  constructor(model) {
    this.#layers = new Layers(model.decoder);
  }

  // The probabilities [steps * pitches * tracks] of a code.
  decode(code) {
    return this.#layers.apply(code).map((logit) => 1 / (1 + Math.exp(-logit)));
  }
}

class Encoder {
  #layers;
  #shape;
  #lowestPitch;

  constructor(model) {
    this.#layers = new Layers(model.encoder);
    this.#shape = model.shape;
    this.#lowestPitch = model.lowest_pitch;
  }

  // The code of a phrase: notes [track, pitch, onset, length] within its steps and pitches.
  encode(notes) {
    const [steps, pitches, tracks] = this.#shape;
    const cells = new Float32Array(steps * pitches * tracks);
    for (const [track, pitch, onset, length] of notes) {
      for (let step = onset; step < onset + length; step += 1) {
        cells[(step * pitches + pitch - this.#lowestPitch) * tracks + track] = 1;
      }
    }
    return Array.from(this.#layers.apply(cells));
  }
}
