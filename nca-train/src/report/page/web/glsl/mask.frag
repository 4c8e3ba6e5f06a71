// Which cells update in this step: Philox4x32-10, key = seed, counter = [cell div 4, sample, step,
// stream], output word cell mod 4; a cell is active iff its word is below the threshold.
uniform ivec2 size;      // width, height
uniform uvec2 seed;      // low and high word
uniform uint stepNumber;
uniform uint threshold;  // fire rate times 2^32
uniform bool always;     // fire rate 1, whose threshold does not fit
out vec4 fires;

const uint SAMPLE = 0u;
const uint STREAM_MASK = 0u;

// High and low word of a product. GLSL ES 3.00 has no umulExtended, so it is put together from
// products of 16-bit halves, none of which overflows.
uvec2 wideProduct(uint a, uint b) {
  uint a0 = a & 0xFFFFu, a1 = a >> 16, b0 = b & 0xFFFFu, b1 = b >> 16;
  uint middle = a1 * b0 + ((a0 * b0) >> 16);
  uint carry = a0 * b1 + (middle & 0xFFFFu);
  return uvec2(a1 * b1 + (middle >> 16) + (carry >> 16), a * b);
}

uvec4 philox(uvec4 counter, uvec2 key) {
  for (int round = 0; round < 10; round++) {
    uvec2 p0 = wideProduct(0xD2511F53u, counter.x);
    uvec2 p1 = wideProduct(0xCD9E8D57u, counter.z);
    counter = uvec4(p1.x ^ counter.y ^ key.x, p1.y, p0.x ^ counter.w ^ key.y, p0.y);
    key += uvec2(0x9E3779B9u, 0xBB67AE85u);
  }
  return counter;
}

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  uint cell = uint(at.y * size.x + at.x);
  uvec4 words = philox(uvec4(cell >> 2, SAMPLE, stepNumber, STREAM_MASK), seed);
  fires = vec4(always || words[cell & 3u] < threshold ? 1.0 : 0.0);
}
