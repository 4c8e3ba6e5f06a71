// Smallest and largest value of a picture, for models whose colours are stretched frame by frame:
// first down every column, then along the row that this leaves.
uniform ivec2 size;
uniform sampler2D source;
uniform bool columns;
out vec4 extremes; // minimum, maximum

void main() {
  int at = int(gl_FragCoord.x);
  vec2 found = vec2(uintBitsToFloat(0x7F7FFFFFu), -uintBitsToFloat(0x7F7FFFFFu));
  int count = columns ? size.y : size.x;
  for (int i = 0; i < count; i++) {
    vec4 v = texelFetch(source, columns ? ivec2(at, i) : ivec2(i, 0), 0);
    if (columns) v.xy = vec2(min(v.x, min(v.y, v.z)), max(v.x, max(v.y, v.z)));
    found = vec2(min(found.x, v.x), max(found.y, v.y));
  }
  extremes = vec4(found, 0.0, 1.0);
}
