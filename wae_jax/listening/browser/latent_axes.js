'use strict';
// Axes of a latent space, along which sliders move codes.

// A code is at position `gradient · (code - mean)`, and a unit further after `step` is added to it.
class LatentAxis {
  #mean;
  #gradient;
  #step;

  constructor({ title, unit, mean, gradient, step }) {
    this.title = title;
    this.unit = unit;
    this.#mean = mean;
    this.#gradient = gradient;
    this.#step = step;
  }

  // An attribute of the music, in its standard deviations over the training phrases as a linear model predicts it. The
  // step is the shortest that changes it by one.
  static ofAttribute({ name, slope, explained }, mean) {
    const squared = slope.reduce((sum, value) => sum + value ** 2, 0);
    return new LatentAxis({
      title: `${name[0].toUpperCase()}${name.slice(1)} (fit ${explained.toFixed(2)})`,
      unit: 'standard deviations of the attribute',
      mean,
      gradient: slope,
      step: slope.map((value) => value / squared),
    });
  }

  // A principal component, in standard deviations of the codes along it.
  static ofComponent({ component, deviation, name, correlation, share }, index, mean) {
    const named = name === null ? '' : `: ${name} (r ${correlation.toFixed(2)})`;
    return new LatentAxis({
      title: `Direction ${index + 1}${named}, ${Math.round(100 * share)}\u00a0% of the variance`,
      unit: 'standard deviations',
      mean,
      gradient: component.map((value) => value / deviation),
      step: component.map((value) => value * deviation),
    });
  }

  positionOf(code) {
    return this.#gradient.reduce((sum, value, i) => sum + value * (code[i] - this.#mean[i]), 0);
  }

  // A position with one digit, and with its sign unless that digit is 0.
  static textOf(position) {
    const text = Math.abs(position).toFixed(1);
    return Number(text) ? `${position > 0 ? '+' : '−'}${text}` : text;
  }

  // The code moved along the axis to a position.
  moved(code, position) {
    const by = position - this.positionOf(code);
    return code.map((value, i) => value + by * this.#step[i]);
  }
}
