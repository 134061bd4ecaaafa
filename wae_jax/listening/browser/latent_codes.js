'use strict';
// Codes that are sampled, or lie between others. Needs layers.js.

// Standard normal numbers, the same for the same seed: a scrambled counter gives two uniform numbers for each.
function standardNormals(seed, count) {
  let counter = Math.imul(seed + 1, 0x9e3779b1);
  const uniform = () => {
    counter = (counter + 0x6d2b79f5) | 0;
    let bits = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return (((bits ^ (bits >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

// A code sampled from the density estimate, if the model has one, or from the normal prior.
function sampleCode(seed, { mean, prior_deviation: deviation, kernel_density: density }) {
  const count = mean.length;
  const normals = standardNormals(seed, count + 2);
  if (!density) return normals.slice(0, count).map((value) => deviation * value);
  // Half the squared length of two standard normal numbers is exponential, so this is uniform.
  const uniform = Math.exp(-(normals[count] ** 2 + normals[count + 1] ** 2) / 2);
  const centers = Layers.halves(density.centers);
  const kernel = Math.min(Math.floor(uniform * (centers.length / count)), centers.length / count - 1);
  const factor = Layers.floats(density.factor);
  return Array.from(centers.subarray(kernel * count, (kernel + 1) * count), (center, i) =>
    factor.subarray(i * count, (i + 1) * count).reduce((sum, value, j) => sum + value * normals[j], center));
}

// The code halfway between two, as `slerp` of latent_paths.py: direction and norm change evenly.
function halfwayCode(one, other) {
  const norms = [Math.hypot(...one), Math.hypot(...other)];
  const sums = one.map((value, i) => value / norms[0] + other[i] / norms[1]);
  const length = Math.hypot(...sums);
  // If a code is 0, or the two are opposite, there is no direction halfway.
  if (!(length > 1e-6)) return one.map((value, i) => (value + other[i]) / 2);
  return sums.map((value) => (value / length) * ((norms[0] + norms[1]) / 2));
}
