// The first three channels as colour, seen through a window that may be moved and enlarged.
uniform ivec2 size;
uniform sampler2D state;
uniform sampler2D extremes;
uniform bool stretched;     // colours by the frame's extremes instead of scale and offset
uniform float scale;
uniform float offset;
uniform vec2 canvas;        // in pixels
uniform vec2 centre;        // the cell in its middle
uniform float enlargement;  // pixels a cell
out vec4 colour;

vec3 colourOf(ivec2 cell) {
  vec3 s = texelFetch(state, ((cell % size) + size) % size, 0).rgb;
  if (!stretched) return s * scale + offset;
  vec2 range = texelFetch(extremes, ivec2(0), 0).rg;
  return (s - range.x) / (range.y - range.x + 1e-8);
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, canvas.y - gl_FragCoord.y) - 0.5 * canvas;
  vec2 at = centre + pixel / enlargement - 0.5;
  ivec2 cell = ivec2(floor(at));
  // Cells are squares with soft edges, one pixel wide: none looks wider than its neighbour.
  vec2 blend = clamp((fract(at) - 0.5) * max(enlargement, 1.0) + 0.5, 0.0, 1.0);
  vec3 upper = mix(colourOf(cell), colourOf(cell + ivec2(1, 0)), blend.x);
  vec3 lower = mix(colourOf(cell + ivec2(0, 1)), colourOf(cell + ivec2(1, 1)), blend.x);
  colour = vec4(clamp(mix(upper, lower, blend.y), 0.0, 1.0), 1.0);
}
