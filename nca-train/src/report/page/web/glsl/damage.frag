// The brush: zeros every channel of the cells around a point of the torus.
uniform ivec2 size;
uniform sampler2D state;
uniform vec2 centre; // in cells
uniform float radius;
out vec4 next;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec2 away = abs(vec2(at % size) + 0.5 - centre);
#if PADDING == CIRCULAR
  away = min(away, vec2(size) - away);
#endif
  next = length(away) < radius ? vec4(0.0) : texelFetch(state, at, 0);
}
