// Prepended to every kernel file: by the compiler of kernels as text, by the emulator as an include.
// Nothing can be included here but what CUDA has built in.

#ifndef EMULATED
#define KERNEL(name, threads, parameters) extern "C" __global__ void __launch_bounds__(threads) name parameters
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#endif

// Threads of a block, where a kernel has no reason for another number.
#define THREADS 256
#define WARP_SIZE 32
#define ALL_LANES 0xffffffffu

// This thread's share of 0..n: a grid of any size covers it.
#define FOR_EACH(i, n)                                                                                    \
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < (n); i += size_t(gridDim.x) * blockDim.x)

// This row of blocks' share of n planes.
#define FOR_PLANES(p, n) for (size_t p = blockIdx.y; p < (n); p += gridDim.y)

#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)
#define POSITIVE_INFINITY __uint_as_float(0x7f800000u)

// max(v, 0) that lets a NaN through.
__device__ __forceinline__ float rectified(float v) { return v <= 0.0f ? 0.0f : v; }

// −1, 0 or 1; NaN stays.
__device__ __forceinline__ float sign_of(float v) { return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : v == 0.0f ? 0.0f : v; }

// v within ±bound; NaN stays.
__device__ __forceinline__ float clamped(float v, float bound) { return v > bound ? bound : v < -bound ? -bound : v; }

// Sum over a warp, in a fixed order; lane 0 has it.
template <typename T> __device__ __forceinline__ T warp_sum(T v) {
    for (int offset = WARP_SIZE / 2; offset > 0; offset /= 2) {
        v += __shfl_down_sync(ALL_LANES, v, offset);
    }
    return v;
}

// Sum over a block of whole warps, in a fixed order; every thread has it. May be called repeatedly.
template <typename T> __device__ __forceinline__ T block_sum(T v) {
    __shared__ T sums[WARP_SIZE];
    unsigned warps = blockDim.x / WARP_SIZE;
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % WARP_SIZE == 0) sums[threadIdx.x / WARP_SIZE] = v;
    __syncthreads();
    T total = 0;
    for (unsigned i = 0; i < warps; i++) total += sums[i];
    return total;
}

// Philox4x32-10 (Salmon et al., SC 2011): four random words for a counter and a key.
__device__ __forceinline__ uint4 philox(uint4 counter, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        unsigned high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// Which cells update in a step.
struct MaskKey {
    unsigned seed_low, seed_high, step;
    // Nonzero: every cell is active, whatever the threshold.
    unsigned always;
    unsigned threshold;
};

// Whether `cell` of batch slot `sample` updates: its word is below the threshold.
__device__ __forceinline__ bool is_active(const MaskKey &key, unsigned sample, unsigned cell) {
    uint4 words = philox(make_uint4(cell / 4, sample, key.step, 0), key.seed_low, key.seed_high);
    unsigned low = cell & 1 ? words.y : words.x, high = cell & 1 ? words.w : words.z;
    return key.always || (cell & 2 ? high : low) < key.threshold;
}

// Most perception kernels a model may have.
#define MAX_KERNELS 16

// The perception: kernel k weighs the neighbour at row dy, column dx with weights[k][3·dy + dx].
struct Perception {
    int kernels;
    // 0: torus, 1: zeros beyond the edge, 2: the nearest cell.
    int padding;
    float weights[MAX_KERNELS][9];
};

// Index i + d − 1 of an axis of `len` cells as `padding` reads it; −1 for nothing.
__device__ __forceinline__ int along(int padding, int i, int d, int len) {
    int at = i + d - 1;
    if (at >= 0 && at < len) return at;
    if (padding == 0) return at < 0 ? len - 1 : 0;
    return padding == 1 ? -1 : at < 0 ? 0 : len - 1;
}

// The cells that see cell q as their neighbour number d along an axis: at most two, −1 for none. What a
// gradient flows back through.
struct Viewers {
    int first, second;
};

__device__ __forceinline__ Viewers viewers(int padding, int q, int d, int len) {
    int p = q - d + 1;
    bool inside = p >= 0 && p < len;
    if (padding == 0) return {inside ? p : p < 0 ? len - 1 : 0, -1};
    // The border cell sees itself beyond the edge.
    int border = d == 0 ? 0 : len - 1;
    return {inside ? p : -1, padding == 2 && d != 1 && q == border ? border : -1};
}

// The state after a step, before the clamp, is within or on the bounds, or NaN; a negative bound is none.
__device__ __forceinline__ bool within(float v, float bound) { return bound < 0.0f || !(fabsf(v) > bound); }

// clamped(v, bound), or v where the bound is negative.
__device__ __forceinline__ float clamped_if(float v, float bound) { return bound < 0.0f ? v : clamped(v, bound); }
