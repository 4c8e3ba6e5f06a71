// First half of a step: h = relu(W1 · perceive(x) + b1), four neurons a texel.
uniform ivec2 size;
uniform sampler2D state;   // tiles of four channels
uniform sampler2D mask;
uniform sampler2D weights; // row: four neurons; columns: one for each input, the bias last
uniform float kernels[9 * KERNELS];
uniform int channelGroups;
uniform int hiddenGroups;
uniform int stateColumns;  // tiles side by side
uniform int hiddenColumns;
out vec4 hidden;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  ivec2 tile = at / size, cell = at - tile * size;
  int row = tile.y * hiddenColumns + tile.x;
  hidden = vec4(0.0);
  // What does not update needs no hidden layer.
  if (row >= hiddenGroups || texelFetch(mask, cell, 0).r == 0.0) return;

  ivec2 near[9];
  float there[9];
  for (int n = 0; n < 9; n++) {
    ivec2 c = cell + ivec2(n % 3, n / 3) - 1;
    there[n] = 1.0;
#if PADDING == CIRCULAR
    c = (c + size) % size;
#elif PADDING == ZERO
    if (any(lessThan(c, ivec2(0))) || any(greaterThanEqual(c, size))) there[n] = 0.0;
#endif
    near[n] = clamp(c, ivec2(0), size - 1);
  }

  vec4 sum = texelFetch(weights, ivec2(4 * KERNELS * channelGroups, row), 0);
  for (int group = 0; group < channelGroups; group++) {
    ivec2 origin = ivec2(group % stateColumns, group / stateColumns) * size;
    vec4 seen[KERNELS];
    for (int k = 0; k < KERNELS; k++) seen[k] = vec4(0.0);
    for (int n = 0; n < 9; n++) {
      vec4 x = there[n] * texelFetch(state, origin + near[n], 0);
      for (int k = 0; k < KERNELS; k++) seen[k] += kernels[9 * k + n] * x;
    }
    for (int k = 0; k < KERNELS; k++) {
      int column = 4 * (k * channelGroups + group);
      sum += mat4(
        texelFetch(weights, ivec2(column, row), 0),
        texelFetch(weights, ivec2(column + 1, row), 0),
        texelFetch(weights, ivec2(column + 2, row), 0),
        texelFetch(weights, ivec2(column + 3, row), 0)) * seen[k];
    }
  }
  hidden = max(sum, 0.0);
}
