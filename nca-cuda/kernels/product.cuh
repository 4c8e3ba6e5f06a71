
// Products of matrices, C [M,N] = A [M,K]·B [K,N], for the operations that are one. Prepended after the prelude.
//
// A block of THREADS threads makes a tile of C, DEPTH terms at a time: they go from memory to registers while the
// terms before them are multiplied, and then to shared memory. Where C has too few tiles to fill a GPU, the terms are
// cut into slices, each with blocks and sums of its own, which are added up in their order.

#define DEPTH 8

// Bounds of the kernels with large tiles: registers such that two blocks share a multiprocessor, one of which
// multiplies while the other waits.
#define IN_PAIRS THREADS, 2

// A tile of HEIGHT×WIDTH elements of C, of which each thread sums TM×TN: in groups of 4×4 spread over the tile, so
// that the threads of a warp read neighbouring parts of shared memory.
template <int HEIGHT_, int WIDTH_, int TM_, int TN_> struct ProductTile {
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, TM = TM_, TN = TN_;
    // Threads of a row and of a column of the tile.
    static constexpr int ACROSS = WIDTH / TN, DOWN = HEIGHT / TM;
    static_assert(ACROSS * DOWN == THREADS, "every thread has its part");

    // DEPTH rows of a tile of Aᵀ and of B. The rows are longer than the tile: what is stored column by column then
    // goes to different banks.
    typedef float4 Left[DEPTH][HEIGHT / 4 + 1];
    typedef float4 Right[DEPTH][WIDTH / 4 + 1];

    float sum[TM][TN];

    // Row and column of the tile that sum[i][j] belongs to.
    static __device__ __forceinline__ int row(int i) {
        return (int(threadIdx.x) / ACROSS + i / 4 * DOWN) * 4 + i % 4;
    }
    static __device__ __forceinline__ int column(int j) {
        return (int(threadIdx.x) % ACROSS + j / 4 * ACROSS) * 4 + j % 4;
    }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < TM; i++) {
#pragma unroll
            for (int j = 0; j < TN; j++) sum[i][j] = 0.0f;
        }
    }

    __device__ __forceinline__ void add(const Left &left, const Right &right) {
        // Not more: what would be read ahead of its use takes more registers than there are.
#pragma unroll 2
        for (int k = 0; k < DEPTH; k++) {
            float a[TM], b[TN];
#pragma unroll
            for (int i = 0; i < TM; i += 4) {
                float4 v = left[k][int(threadIdx.x) / ACROSS + i / 4 * DOWN];
                a[i] = v.x, a[i + 1] = v.y, a[i + 2] = v.z, a[i + 3] = v.w;
            }
#pragma unroll
            for (int j = 0; j < TN; j += 4) {
                float4 v = right[k][int(threadIdx.x) % ACROSS + j / 4 * ACROSS];
                b[j] = v.x, b[j + 1] = v.y, b[j + 2] = v.z, b[j + 3] = v.w;
            }
#pragma unroll
            for (int i = 0; i < TM; i++) {
#pragma unroll
                for (int j = 0; j < TN; j++) sum[i][j] += a[i] * b[j];
            }
        }
    }

    // Sums terms first … end − 1. `a` and `b` are operands: `load(k)` takes the block's part of terms
    // k … k + DEPTH − 1 into registers, 0 for what does not exist; `store(to)` puts it into shared memory. Terms are
    // loaded in their order, of `a` first.
    template <typename A, typename B> __device__ __forceinline__ void multiply(A &a, B &b, int first, int end) {
        __shared__ Left left[2];
        __shared__ Right right[2];
        clear();
        if (first >= end) return;
        a.load(first);
        b.load(first);
        int stage = 0;
        a.store(left[stage]);
        b.store(right[stage]);
        __syncthreads();
        for (int k = first + DEPTH; k < end; k += DEPTH) {
            a.load(k);
            b.load(k);
            add(left[stage], right[stage]);
            stage = 1 - stage;
            a.store(left[stage]);
            b.store(right[stage]);
            __syncthreads();
        }
        add(left[stage], right[stage]);
    }
};

// An element of a row of a tile in shared memory.
__device__ __forceinline__ float &element(float4 *row, int i) { return reinterpret_cast<float *>(row)[i]; }
