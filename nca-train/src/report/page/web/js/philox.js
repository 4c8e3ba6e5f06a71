'use strict';
// Counter-based random numbers, Philox4x32-10: the same numbers as the program that trained the
// model. The masks are computed on the graphics processor, by mask.frag; here only initial states.

const STREAM_STATE = 2;

/** High word of the product of two 32-bit words, from products of 16-bit halves. */
function productHigh(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + (Math.imul(a0, b0) >>> 16);
  const carry = a0 * b1 + (middle % 0x10000);
  return (a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** Four words for a counter of four words and a key of two. */
function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = productHigh(0xd2511f53, c0), low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = productHigh(0xcd9e8d57, c2), low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Low and high word of a seed of 64 bits (a BigInt). */
function seedWords(seed) {
  return [Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn)];
}

/** The numbers of the stream of initial states, in (0, 1), one after the other. */
function* uniforms(seed) {
  const key = seedWords(seed);
  for (let block = 0; ; block++) {
    for (const word of philox([block, 0, 0, STREAM_STATE], key)) yield (word + 0.5) / 4294967296;
  }
}

/** Standard normal numbers by Box and Muller; both of a pair are used. */
function* normals(seed) {
  const source = uniforms(seed);
  for (;;) {
    const radius = Math.sqrt(-2 * Math.log(source.next().value));
    const angle = 2 * Math.PI * source.next().value;
    yield radius * Math.cos(angle);
    yield radius * Math.sin(angle);
  }
}

/** The state a run starts from, channel by channel, row by row. */
function seedState(kind, length, seed) {
  const state = new Float32Array(length);
  if (kind === 'zeros') return state;
  const source = kind === 'normal' ? normals(seed) : uniforms(seed);
  for (let i = 0; i < length; i++) {
    const value = source.next().value;
    state[i] = kind === 'normal' ? value : 2 * value - 1;
  }
  return state;
}
