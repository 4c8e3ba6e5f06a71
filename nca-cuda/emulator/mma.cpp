// Tensor cores on the host: the conversions and products of kernels/tensor.cuh, with the fragments of the PTX ISA
// (9.7.14, matrix fragments of m16n8k8 and m16n8k16).
//
// Products are exact and their sum is rounded once: what a GPU does in between is not specified.

namespace emulator {

static unsigned f16_bits(float v) {
    unsigned bits = __float_as_uint(v), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;
    // What would round to 2¹⁶.
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;
    // Below 2⁻¹⁴: a multiple of 2⁻²⁴.
    if (magnitude < 0x38800000u) return sign | unsigned(nearbyintf(fabsf(v) * 16777216.0f));
    return sign | (((magnitude + 0xfffu + (magnitude >> 13 & 1u)) >> 13) - (112u << 10));
}

static float of_f16(unsigned bits) {
    int exponent = int(bits >> 10 & 0x1fu), fraction = int(bits & 0x3ffu);
    float v = exponent == 31  ? (fraction ? NAN : INFINITY)
              : exponent == 0 ? ldexpf(float(fraction), -24)
                              : ldexpf(float(fraction | 0x400), exponent - 25);
    return bits & 0x8000u ? -v : v;
}

static unsigned bf16_bits(float v) {
    unsigned bits = __float_as_uint(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

static float of_bf16(unsigned bits) { return __uint_as_float(bits << 16); }

// Ignores the bits that the format does not have.
static float of_tf32(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }

// A lane's factors: registers 0 to 3 of A, 0 and 1 of B, with one or two in each.
struct Factors {
    float a[8], b[4];
};

// Who has element [row, k] of A, and [k, column] of B, with `packed` factors in a register: lane, and place among its
// own.
struct Place {
    unsigned lane, index;
};

static Place place_of_a(int row, int k, int packed) {
    unsigned lane = unsigned(row % 8 * 4 + k / packed % 4), reg = unsigned(row / 8 + k / (4 * packed) * 2);
    return {lane, reg * packed + k % packed};
}

static Place place_of_b(int k, int column, int packed) {
    unsigned lane = unsigned(column * 4 + k / packed % 4), reg = unsigned(k / (4 * packed));
    return {lane, reg * packed + k % packed};
}

UNWATCHED static void multiply(float *const (&d)[4], const Factors &own, int packed, int line) {
    const Factors *shown = show(own, line);
    int group = int(lane() / 4), in_group = int(lane() % 4);
    for (int i = 0; i < 4; i++) {
        int row = group + (i < 2 ? 0 : 8), column = in_group * 2 + i % 2;
        double sum = *d[i];
        for (int k = 0; k < 8 * packed; k++) {
            Place a = place_of_a(row, k, packed), b = place_of_b(k, column, packed);
            sum += double(shown[a.lane].a[a.index]) * double(shown[b.lane].b[b.index]);
        }
        *d[i] = float(sum);
    }
}

template <float OF(unsigned)>
UNWATCHED static void multiply_packed(float *const (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line) {
    Factors own = {};
    for (int i = 0; i < 4; i++) own.a[2 * i] = OF(a[i] & 0xffffu), own.a[2 * i + 1] = OF(a[i] >> 16);
    for (int i = 0; i < 2; i++) own.b[2 * i] = OF(b[i] & 0xffffu), own.b[2 * i + 1] = OF(b[i] >> 16);
    multiply(d, own, 2, line);
}

} // namespace emulator

static inline unsigned as_tf32(float v) {
    unsigned bits = __float_as_uint(v), magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffffffu;
    return magnitude == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
}
static inline unsigned as_f16x2(float low, float high) {
    return emulator::f16_bits(low) | emulator::f16_bits(high) << 16;
}
static inline unsigned as_bf16x2(float low, float high) {
    return emulator::bf16_bits(low) | emulator::bf16_bits(high) << 16;
}

static inline void mma_tf32(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],
                            const unsigned (&b)[2]) {
    emulator::Factors own = {};
    for (int i = 0; i < 4; i++) own.a[i] = emulator::of_tf32(a[i]);
    for (int i = 0; i < 2; i++) own.b[i] = emulator::of_tf32(b[i]);
    emulator::multiply({&d0, &d1, &d2, &d3}, own, 1, __LINE__);
}
static inline void mma_f16(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulator::multiply_packed<emulator::of_f16>({&d0, &d1, &d2, &d3}, a, b, __LINE__);
}
static inline void mma_bf16(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],
                            const unsigned (&b)[2]) {
    emulator::multiply_packed<emulator::of_bf16>({&d0, &d1, &d2, &d3}, a, b, __LINE__);
}
