'use strict';
// A network as the layers of network_layers.py, as JSON. Arrays are flat, in the order row, column, channel.

class Layers {
  #apply;

  constructor(layers) {
    this.#apply = Layers.#compose(layers);
  }

  apply(values) {
    return this.#apply(Float32Array.from(values));
  }

  // The 32-bit numbers in base64.
  static floats(text) {
    return new Float32Array(Layers.#bytes(text).buffer);
  }

  // The 16-bit numbers in base64, as 32-bit ones.
  static halves(text) {
    // The unit of the ten fraction bits, by exponent; the lowest exponent has no implicit leading one. The highest
    // exponent, of numbers that are not finite, does not occur.
    const units = Float32Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));
    return Float32Array.from(new Uint16Array(Layers.#bytes(text).buffer), (bits) => {
      const exponent = (bits >> 10) & 31;
      const size = ((exponent === 0 ? 0 : 1024) + (bits & 1023)) * units[exponent];
      return bits & 0x8000 ? -size : size;
    });
  }

  static #bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  static #compose(layers) {
    const makers = {
      dense: Layers.#dense,
      conv: (layer) => Layers.#conv(layer, false),
      conv_transpose: (layer) => Layers.#conv(layer, true),
      affine: Layers.#affine,
      layer_norm: Layers.#layerNorm,
      leaky_relu: ({ slope }) => (x) => x.map((value) => (value > 0 ? value : slope * value)),
      residual: Layers.#residual,
    };
    const functions = layers.map((layer) => makers[layer.kind](layer));
    return (x) => functions.reduce((values, layer) => layer(values), x);
  }

  static #dense(layer) {
    const [inputs, units] = layer.kernel_shape;
    const kernel = Layers.halves(layer.kernel);
    const [scale, offset] = [Layers.floats(layer.scale), Layers.floats(layer.offset)];
    return (x) => {
      const y = new Float32Array(units);
      for (let i = 0; i < inputs; i += 1) {
        for (let unit = 0; unit < units; unit += 1) y[unit] += x[i] * kernel[i * units + unit];
      }
      return y.map((value, unit) => value * scale[unit] + offset[unit]);
    };
  }

  static #affine(layer) {
    const [scale, offset] = [Layers.floats(layer.scale), Layers.floats(layer.offset)];
    return (x) => x.map((value, i) => value * scale[i % scale.length] + offset[i % scale.length]);
  }

  static #layerNorm(layer) {
    const [scale, offset] = [Layers.floats(layer.scale), Layers.floats(layer.offset)];
    const size = scale.length;
    return (x) => {
      const y = new Float32Array(x.length);
      for (let start = 0; start < x.length; start += size) {
        const run = x.subarray(start, start + size);
        const mean = run.reduce((sum, value) => sum + value, 0) / size;
        const variance = run.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size;
        const factor = 1 / Math.sqrt(variance + layer.epsilon);
        y.set(run.map((value, i) => (value - mean) * factor * scale[i] + offset[i]), start);
      }
      return y;
    };
  }

  static #residual({ layers }) {
    const change = Layers.#compose(layers);
    return (x) => {
      const changes = change(x);
      return x.map((value, i) => value + changes[i]);
    };
  }

  // For each output along one axis, the indices of the kernel and of the input that contribute to it.
  static #taps(kernelSize, inputSize, stride, front, isTransposed) {
    const outputSize = isTransposed ? inputSize * stride : inputSize / stride;
    return Array.from({ length: outputSize }, (_, output) => Array.from({ length: kernelSize }, (_, k) => ({
      k, input: isTransposed ? (output + front - k) / stride : output * stride - front + k,
    })).filter(({ input }) => Number.isInteger(input) && input >= 0 && input < inputSize));
  }

  static #conv(layer, isTransposed) {
    const { size: [rows, columns], strides, front, groups } = layer;
    const [kernelRows, kernelColumns, outputs, inputs] = layer.kernel_shape;
    const kernel = Layers.halves(layer.kernel);
    const [scale, offset] = [Layers.floats(layer.scale), Layers.floats(layer.offset)];
    const rowTaps = Layers.#taps(kernelRows, rows, strides[0], front[0], isTransposed);
    const columnTaps = Layers.#taps(kernelColumns, columns, strides[1], front[1], isTransposed);
    const channels = inputs * groups;
    const sums = new Float64Array(outputs);
    return (x) => {
      const y = new Float32Array(rowTaps.length * columnTaps.length * outputs);
      let to = 0;
      for (const ofRow of rowTaps) {
        for (const ofColumn of columnTaps) {
          sums.fill(0);
          for (const row of ofRow) {
            for (const column of ofColumn) {
              const from = (row.input * columns + column.input) * channels;
              const weights = (row.k * kernelColumns + column.k) * outputs * inputs;
              Layers.#addProducts(sums, x, from, kernel, weights, inputs, groups);
            }
          }
          for (let output = 0; output < outputs; output += 1, to += 1) y[to] = sums[output] * scale[output] + offset[output];
        }
      }
      return y;
    };
  }

  // Adds to each output the product of its weights with the input channels of its group; four outputs at a time where
  // possible, since reading an input takes as long as multiplying it.
  static #addProducts(sums, x, from, kernel, weights, inputs, groups) {
    const perGroup = sums.length / groups;
    for (let group = 0, output = 0; group < groups; group += 1) {
      const start = from + group * inputs;
      const end = start + inputs;
      const stop = (group + 1) * perGroup;
      for (; output + 4 <= stop; output += 4) {
        let [a, b, c, d] = [0, 0, 0, 0];
        for (let i = start, w = weights + output * inputs; i < end; i += 1, w += 1) {
          const value = x[i];
          a += value * kernel[w];
          b += value * kernel[w + inputs];
          c += value * kernel[w + 2 * inputs];
          d += value * kernel[w + 3 * inputs];
        }
        sums[output] += a;
        sums[output + 1] += b;
        sums[output + 2] += c;
        sums[output + 3] += d;
      }
      for (; output < stop; output += 1) {
        for (let i = start, w = weights + output * inputs; i < end; i += 1, w += 1) sums[output] += x[i] * kernel[w];
      }
    }
  }
}
