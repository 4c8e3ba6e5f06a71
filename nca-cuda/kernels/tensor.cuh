// Products on tensor cores, for warps: 16 rows with 8 columns, a few terms at a time. Prepended after the prelude.
//
// PTX deals out a product's elements to the lanes, lane 4·g + t having rows g and g + 8 of the left operand, column g of
// the right one, and columns 2·t and 2·t + 1 of rows g and g + 8 of the sum; of the terms it has a quarter. Which terms
// these are is for who loads them to say, as long as it is the same on both sides: a sum has no order.

// The lane's place in all of them.
__device__ __forceinline__ int lane_group() { return int(threadIdx.x % WARP_SIZE) / 4; }
__device__ __forceinline__ int lane_in_group() { return int(threadIdx.x % WARP_SIZE) % 4; }

#ifndef EMULATED
// Rounded to 10 bits after the point, ties away from zero.
__device__ __forceinline__ unsigned as_tf32(float v) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return bits;
}

// Both rounded, ties to even.
__device__ __forceinline__ unsigned as_f16x2(float low, float high) {
    unsigned bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

__device__ __forceinline__ unsigned as_bf16x2(float low, float high) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// d += a·b. Volatile: all lanes of the warp must come here together, also where a branch after it is all that asks for d.
#define MULTIPLY_ACCUMULATE(name, instruction)                                                                        \
    __device__ __forceinline__ void name(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],          \
                                         const unsigned (&b)[2]) {                                                    \
        asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                   \
                     : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)                                                         \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                             \
    }
MULTIPLY_ACCUMULATE(mma_tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
MULTIPLY_ACCUMULATE(mma_f16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
MULTIPLY_ACCUMULATE(mma_bf16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
#endif

// A format of factors. TERMS terms are multiplied at a time, EACH of them by a lane: `left(a, v)` and `right(b, v)` make
// fragments of its elements, v[r] being those of row g + 8·r.
struct Tf32 {
    static constexpr int TERMS = 8, EACH = TERMS / 4;
    static __device__ __forceinline__ void left(unsigned (&a)[4], const float (&v)[2][EACH]) {
        a[0] = as_tf32(v[0][0]), a[1] = as_tf32(v[1][0]), a[2] = as_tf32(v[0][1]), a[3] = as_tf32(v[1][1]);
    }
    static __device__ __forceinline__ void right(unsigned (&b)[2], const float (&v)[EACH]) {
        b[0] = as_tf32(v[0]), b[1] = as_tf32(v[1]);
    }
    static __device__ __forceinline__ void multiply(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],
                                                    const unsigned (&b)[2]) {
        mma_tf32(d0, d1, d2, d3, a, b);
    }
};

// Two factors in a register, as `Format` makes them.
template <typename Format> struct InPairs {
    static constexpr int TERMS = 16, EACH = TERMS / 4;
    static __device__ __forceinline__ void left(unsigned (&a)[4], const float (&v)[2][EACH]) {
        a[0] = Format::pair(v[0][0], v[0][1]), a[1] = Format::pair(v[1][0], v[1][1]);
        a[2] = Format::pair(v[0][2], v[0][3]), a[3] = Format::pair(v[1][2], v[1][3]);
    }
    static __device__ __forceinline__ void right(unsigned (&b)[2], const float (&v)[EACH]) {
        b[0] = Format::pair(v[0], v[1]), b[1] = Format::pair(v[2], v[3]);
    }
};

struct F16 : InPairs<F16> {
    static __device__ __forceinline__ unsigned pair(float low, float high) { return as_f16x2(low, high); }
    static __device__ __forceinline__ void multiply(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],
                                                    const unsigned (&b)[2]) {
        mma_f16(d0, d1, d2, d3, a, b);
    }
};

struct Bf16 : InPairs<Bf16> {
    static __device__ __forceinline__ unsigned pair(float low, float high) { return as_bf16x2(low, high); }
    static __device__ __forceinline__ void multiply(float &d0, float &d1, float &d2, float &d3, const unsigned (&a)[4],
                                                    const unsigned (&b)[2]) {
        mma_bf16(d0, d1, d2, d3, a, b);
    }
};

// Columns of a lane among 8·N: the j-th of its 2·N.
__device__ __forceinline__ int lane_column(int j) { return j / 2 * 8 + lane_in_group() * 2 + j % 2; }

// sum += M blocks of 16 rows times N blocks of 8 columns, `terms` terms (a multiple of 16), of operands that lie in
// shared memory term by term: element [k][row] and [k][column]. sum[i] is row 8·i + g, sum[i][j] column lane_column(j).
// The blocks of rows are `apart` rows apart. No bank conflicts where the strides are 8 more or less than a multiple of
// 32 or 16.
template <typename Format, int M, int N>
__device__ __forceinline__ void multiply_by_terms(float (&sum)[2 * M][2 * N], const float *left, int left_stride,
                                                  int apart, const float *right, int right_stride, int terms) {
    left += lane_in_group() * left_stride + lane_group();
    right += lane_in_group() * right_stride + lane_group();
    // What would be read ahead of its use takes more registers than there are.
#pragma unroll 1
    for (int k = 0; k < terms; k += Format::TERMS) {
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            float v[2][Format::EACH];
#pragma unroll
            for (int e = 0; e < Format::EACH; e++) {
                const float *at = left + (k + 4 * e) * left_stride + m * apart;
                v[0][e] = at[0], v[1][e] = at[8];
            }
            Format::left(a[m], v);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            float v[Format::EACH];
#pragma unroll
            for (int e = 0; e < Format::EACH; e++) v[e] = right[(k + 4 * e) * right_stride + 8 * n];
            unsigned b[2];
            Format::right(b, v);
#pragma unroll
            for (int m = 0; m < M; m++) {
                Format::multiply(sum[2 * m][2 * n], sum[2 * m][2 * n + 1], sum[2 * m + 1][2 * n],
                                 sum[2 * m + 1][2 * n + 1], a[m], b);
            }
        }
    }
}
