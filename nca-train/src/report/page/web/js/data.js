'use strict';
// What the page carries: the numbers as JSON, the weights of each model as a block of their own
// that is unpacked when the model is wanted.

const DATA = JSON.parse(document.getElementById('data').textContent);

/** The model with its weights, ready for `Automaton.load`. */
async function runnable(model) {
  const text = document.getElementById(`weights-${model.weights}`).textContent;
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  // High bytes first, then low bytes: so they compress better.
  const count = planes.length / 2;
  const weights = Uint16Array.from({ length: count }, (_, i) => (planes[i] << 8) | planes[count + i]);
  const { channels, hidden } = model;
  return { ...DATA.conventions[model.conventions], channels, hidden, weights };
}
