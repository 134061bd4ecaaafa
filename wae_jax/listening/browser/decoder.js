'use strict';
// A trained decoder in typed arrays: from a code to the probabilities of cells, and from these to notes. The model is
// what latent_model.py describes; layers are those of decoder_layers.py, arrays in the order row, column, channel. What is
// several times as long as a layer's input is that many inputs one after the other.

class Decoder {
  #layers;
  #shape;
  #lowestPitch;

  constructor({ layers, shape, lowest_pitch: lowestPitch }) {
    this.#layers = Decoder.#made(layers);
    this.#shape = shape;
    this.#lowestPitch = lowestPitch;
  }

  // The probabilities [steps * pitches * tracks] of a code.
  decode(z) {
    const logits = this.#layers.reduce((values, layer) => layer(values), Float32Array.from(z));
    return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  }

  // The notes [track, pitch, onset, length] by onset, as generation/binarization.py makes them: a note begins above the threshold of its
  // track. On the pitched tracks it lasts while above `hysteresis_ratio` times that; short notes are dropped,
  // but for those that get above `short_note_thresholds` times the threshold. A track of which too little is expected rests.
  notes(probabilities, {
    thresholds, hysteresis_ratio: hysteresisRatio, min_note_length: shortest,
    short_note_thresholds: shortNoteThresholds, track_gates: trackGates,
  }) {
    const [steps, pitches, tracks] = this.#shape;
    const found = [];
    const expected = new Float64Array(tracks);
    for (let i = 0; i < probabilities.length; i += 1) expected[i % tracks] += probabilities[i];
    for (let track = 0; track < tracks; track += 1) {
      if (expected[track] < trackGates[track]) continue;
      const isDrums = track === 0;
      const start = Math.fround(thresholds[track]);
      const stay = isDrums ? start : Math.fround(thresholds[track] * hysteresisRatio);
      const sure = shortNoteThresholds[track] ? Math.fround(thresholds[track] * shortNoteThresholds[track]) : Infinity;
      for (let pitch = 0; pitch < pitches; pitch += 1) {
        const runs = [];
        let isOn = false;
        for (let step = 0; step < steps; step += 1) {
          const wasOn = isOn;
          const probability = probabilities[(step * pitches + pitch) * tracks + track];
          isOn = probability > (wasOn ? stay : start);
          if (!isOn) continue;
          if (!wasOn) runs.push({ onset: step, largest: 0 });
          runs.at(-1).end = step + 1;
          runs.at(-1).largest = Math.max(runs.at(-1).largest, probability);
        }
        for (const { onset, end, largest } of runs) {
          if (isDrums || end - onset >= shortest || largest > sure) found.push([track, pitch + this.#lowestPitch, onset, end - onset]);
        }
      }
    }
    return found.sort((a, b) => a[2] - b[2] || a[0] - b[0] || a[1] - b[1]);
  }

  static #made(layers) {
    const makers = {
      dense: Decoder.#dense,
      conv_transpose: Decoder.#inGroups(Decoder.#convTranspose),
      conv: Decoder.#inGroups(Decoder.#conv),
      affine: Decoder.#affine,
      layer_norm: Decoder.#layerNorm,
      leaky_relu: Decoder.#leakyRelu,
      log_sum_exp: Decoder.#logSumExp,
      residual: Decoder.#residual,
    };
    return layers.map((layer) => makers[layer.kind](layer));
  }

  static #bytes(text) {
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = characters.charCodeAt(i);
    return bytes;
  }

  // The 32-bit numbers that a base64 text holds.
  static floats(text) {
    const view = new DataView(Decoder.#bytes(text).buffer);
    return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  static #halves(text) {
    const bytes = Decoder.#bytes(text);
    const values = new Float32Array(bytes.length / 2);
    // What the last of the ten bits of a fraction is worth, by exponent. The lowest exponent has no leading one; the
    // highest, of what is not finite, does not occur.
    const units = Float32Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));
    for (let i = 0; i < values.length; i += 1) {
      const bits = bytes[2 * i] | (bytes[2 * i + 1] << 8);
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      const size = (exponent === 0 ? fraction : 1024 + fraction) * units[exponent];
      values[i] = bits & 0x8000 ? -size : size;
    }
    return values;
  }

  static #dense(layer) {
    const [inputs, units] = layer.kernel_shape;
    const kernel = Decoder.#halves(layer.kernel);
    const [scale, offset] = [Decoder.floats(layer.scale), Decoder.floats(layer.offset)];
    return Decoder.#inParts(inputs, (x) => {
      const y = new Float32Array(units);
      for (let i = 0; i < inputs; i += 1) {
        for (let unit = 0; unit < units; unit += 1) y[unit] += x[i] * kernel[i * units + unit];
      }
      for (let unit = 0; unit < units; unit += 1) y[unit] = y[unit] * scale[unit] + offset[unit];
      return y;
    });
  }

  // A layer done to each part of an array.
  static #inParts(size, layer) {
    return (x) => {
      if (x.length === size) return layer(x);
      const parts = Array.from({ length: x.length / size }, (_, i) => layer(x.subarray(i * size, (i + 1) * size)));
      const y = new Float32Array(parts.length * parts[0].length);
      parts.forEach((part, i) => y.set(part, i * part.length));
      return y;
    };
  }

  static #affine(layer) {
    const [scale, offset] = [Decoder.floats(layer.scale), Decoder.floats(layer.offset)];
    return (x) => x.map((value, i) => value * scale[i % scale.length] + offset[i % scale.length]);
  }

  static #residual({ layers }) {
    const made = Decoder.#made(layers);
    return (x) => {
      const change = made.reduce((values, layer) => layer(values), x);
      return x.map((value, i) => value + change[i]);
    };
  }

  static #layerNorm(layer) {
    const [scale, offset] = [Decoder.floats(layer.scale), Decoder.floats(layer.offset)];
    const size = scale.length;
    return (x) => {
      const y = new Float32Array(x.length);
      for (let start = 0; start < x.length; start += size) {
        let mean = 0;
        for (let i = 0; i < size; i += 1) mean += x[start + i] / size;
        let variance = 0;
        for (let i = 0; i < size; i += 1) variance += (x[start + i] - mean) ** 2 / size;
        const factor = 1 / Math.sqrt(variance + layer.epsilon);
        for (let i = 0; i < size; i += 1) y[start + i] = (x[start + i] - mean) * factor * scale[i] + offset[i];
      }
      return y;
    };
  }

  static #leakyRelu({ slope }) {
    return (x) => x.map((value) => (value > 0 ? value : slope * value));
  }

  static #logSumExp({ size }) {
    return (x) => Float32Array.from({ length: x.length / size }, (_, i) => {
      const run = x.subarray(i * size, (i + 1) * size);
      const largest = run.reduce((one, other) => Math.max(one, other));
      return largest + Math.log(run.reduce((sum, value) => sum + Math.exp(value - largest), 0));
    });
  }

  // Of the outputs along one axis, those at `phase`, `phase + stride`, ... get something from the same places of the
  // kernel. For the first of them: `taps`, these places, and `first`, the input that the first of the taps is for; the
  // next taps are for the inputs that follow.
  static #phases(kernelSize, stride, front) {
    return Array.from({ length: stride }, (_, phase) => {
      const taps = [];
      for (let place = (phase + front) % stride; place < kernelSize; place += stride) taps.unshift(place);
      return { taps, first: taps.length ? (phase + front - taps[0]) / stride : 0 };
    });
  }

  // Each group's layer, made by `make`, with its share of the filters and done to its share of the channels. A kernel is
  // [rows, columns, outputs, inputs of a group].
  static #inGroups(make) {
    return ({ kernel: text, kernel_shape: [kernelRows, kernelColumns, outputs, inputs], groups, ...layer }) => {
      const [whole, scale, offset] = [Decoder.#halves(text), Decoder.floats(layer.scale), Decoder.floats(layer.offset)];
      const filters = outputs / groups;
      const layers = Array.from({ length: groups }, (_, group) => {
        const kernel = new Float32Array(whole.length / groups);
        for (let place = 0; place < kernelRows * kernelColumns; place += 1) {
          const start = (place * outputs + group * filters) * inputs;
          kernel.set(whole.subarray(start, start + filters * inputs), place * filters * inputs);
        }
        const share = (values) => values.subarray(group * filters, (group + 1) * filters);
        const kernelShape = [kernelRows, kernelColumns, filters, inputs];
        return make({ ...layer, kernel, kernelShape, scale: share(scale), offset: share(offset) });
      });
      const size = layer.size[0] * layer.size[1] * inputs * groups;
      return Decoder.#inParts(size, (x) => {
        if (groups === 1) return layers[0](x);
        const parts = layers.map((one, group) => one(Decoder.#channels(x, group * inputs, inputs, groups * inputs)));
        const y = new Float32Array(groups * parts[0].length);
        parts.forEach((part, group) => {
          for (let i = 0; i < part.length; i += 1) {
            const channel = i % filters;
            y[(i - channel) * groups + group * filters + channel] = part[i];
          }
        });
        return y;
      });
    };
  }

  // Some channels of all cells.
  static #channels(x, first, count, all) {
    const y = new Float32Array((x.length / all) * count);
    for (let i = 0; i < y.length; i += 1) {
      const channel = i % count;
      y[i] = x[((i - channel) / count) * all + first + channel];
    }
    return y;
  }

  // In the phase form: with zeros around the input, an output is the product of a window's rows, each one run of values
  // in memory, with a part of the kernel that is put in the same order here, once.
  static #convTranspose({ kernel, kernelShape, scale, offset, size: [rows, columns], strides, front }) {
    const [kernelRows, kernelColumns, outputs, inputs] = kernelShape;
    const rowPhases = Decoder.#phases(kernelRows, strides[0], front[0]);
    const columnPhases = Decoder.#phases(kernelColumns, strides[1], front[1]);
    const around = (phases) => [
      Math.max(0, ...phases.map(({ first }) => -first)),
      Math.max(0, ...phases.map(({ taps, first }) => first + taps.length - 1)),
    ];
    const [[above, below], [left, right]] = [around(rowPhases), around(columnPhases)];
    const wide = (left + columns + right) * inputs;
    const parts = rowPhases.flatMap((row, rowPhase) => columnPhases.map((column, columnPhase) => ({
      weights: Decoder.#window(kernel, kernelShape, row.taps, column.taps, scale),
      start: (above + row.first) * wide + (left + column.first) * inputs,
      taps: row.taps.length,
      run: column.taps.length * inputs,
      output: (rowPhase * columns * columnPhases.length + columnPhase) * outputs,
    })));
    const down = rowPhases.length * columns * columnPhases.length * outputs;
    const across = columnPhases.length * outputs;
    return (x) => {
      const padded = Decoder.#padded(x, [rows, columns * inputs], [above, below], [left * inputs, right * inputs]);
      const y = new Float32Array(rows * down);
      for (const part of parts) {
        for (let row = 0; row < rows; row += 1) {
          for (let column = 0; column < columns; column += 1) {
            const from = part.start + row * wide + column * inputs;
            Decoder.#products(padded, from, wide, part, y, part.output + row * down + column * across, offset);
          }
        }
      }
      return y;
    };
  }

  // An output is the product of a window's rows, as above; the windows lie strides apart.
  static #conv({ kernel, kernelShape, scale, offset, size: [rows, columns], strides: [down, across], front }) {
    const [kernelRows, kernelColumns, outputs, inputs] = kernelShape;
    const [rowTaps, columnTaps] = [[...Array(kernelRows).keys()], [...Array(kernelColumns).keys()]];
    const weights = Decoder.#window(kernel, kernelShape, rowTaps, columnTaps, scale);
    const part = { weights, taps: kernelRows, run: kernelColumns * inputs };
    const [above, left] = front;
    const [below, right] = [Math.max(kernelRows - down, 0) - above, Math.max(kernelColumns - across, 0) - left];
    const wide = (left + columns + right) * inputs;
    return (x) => {
      const padded = Decoder.#padded(x, [rows, columns * inputs], [above, below], [left * inputs, right * inputs]);
      const y = new Float32Array((rows / down) * (columns / across) * outputs);
      let to = 0;
      for (let row = 0; row < rows; row += down) {
        for (let column = 0; column < columns; column += across, to += outputs) {
          Decoder.#products(padded, row * wide + column * inputs, wide, part, y, to, offset);
        }
      }
      return y;
    };
  }

  // Rows of values with zeros around them.
  static #padded(x, [rows, columns], [above, below], [left, right]) {
    const wide = left + columns + right;
    const padded = new Float32Array((above + rows + below) * wide);
    for (let row = 0; row < rows; row += 1) {
      padded.set(x.subarray(row * columns, (row + 1) * columns), (above + row) * wide + left);
    }
    return padded;
  }

  // The part of a kernel for one phase, [outputs, row taps, column taps, inputs], times the scale of its outputs.
  static #window(kernel, [, kernelColumns, outputs, inputs], rowTaps, columnTaps, scale) {
    const weights = new Float32Array(outputs * rowTaps.length * columnTaps.length * inputs);
    let place = 0;
    for (let output = 0; output < outputs; output += 1) {
      for (const row of rowTaps) {
        for (const column of columnTaps) {
          const start = ((row * kernelColumns + column) * outputs + output) * inputs;
          for (let input = 0; input < inputs; input += 1) {
            weights[place] = kernel[start + input] * scale[output];
            place += 1;
          }
        }
      }
    }
    return weights;
  }

  // All channels of one output. Four at a time, since reading takes as long as multiplying.
  static #products(x, from, wide, { weights, taps, run }, y, to, offset) {
    const outputs = offset.length;
    const size = taps * run;
    let output = 0;
    for (; output + 4 <= outputs; output += 4) {
      let [a, b, c, d] = [0, 0, 0, 0];
      let [i, j, k, l] = [0, 1, 2, 3].map((next) => (output + next) * size);
      for (let tap = 0, start = from; tap < taps; tap += 1, start += wide) {
        for (let n = start; n < start + run; n += 1) {
          const value = x[n];
          a += value * weights[i++];
          b += value * weights[j++];
          c += value * weights[k++];
          d += value * weights[l++];
        }
      }
      y[to + output] = a + offset[output];
      y[to + output + 1] = b + offset[output + 1];
      y[to + output + 2] = c + offset[output + 2];
      y[to + output + 3] = d + offset[output + 3];
    }
    for (; output < outputs; output += 1) {
      let sum = offset[output];
      let i = output * size;
      for (let tap = 0, start = from; tap < taps; tap += 1, start += wide) {
        for (let n = start; n < start + run; n += 1) sum += x[n] * weights[i++];
      }
      y[to + output] = sum;
    }
  }
}
