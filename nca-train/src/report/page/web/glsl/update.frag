// Second half of a step: x' = clamp(x + mask · (W2 · h + b2)), four channels a texel.
uniform ivec2 size;
uniform sampler2D state;
uniform sampler2D mask;
uniform sampler2D hidden;
uniform sampler2D weights; // row: four channels; columns: one for each neuron, the bias last
uniform int channelGroups;
uniform int hiddenGroups;
uniform int stateColumns;
uniform int hiddenColumns;
uniform bool clamped;
uniform float bound;
out vec4 next;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  ivec2 tile = at / size, cell = at - tile * size;
  int row = tile.y * stateColumns + tile.x;
  next = vec4(0.0);
  if (row >= channelGroups) return;
  next = texelFetch(state, at, 0);
  if (texelFetch(mask, cell, 0).r != 0.0) {
    vec4 change = texelFetch(weights, ivec2(4 * hiddenGroups, row), 0);
    for (int group = 0; group < hiddenGroups; group++) {
      ivec2 origin = ivec2(group % hiddenColumns, group / hiddenColumns) * size;
      change += mat4(
        texelFetch(weights, ivec2(4 * group, row), 0),
        texelFetch(weights, ivec2(4 * group + 1, row), 0),
        texelFetch(weights, ivec2(4 * group + 2, row), 0),
        texelFetch(weights, ivec2(4 * group + 3, row), 0)) * texelFetch(hidden, origin + cell, 0);
    }
    next += change;
  }
  if (clamped) next = clamp(next, -bound, bound);
}
