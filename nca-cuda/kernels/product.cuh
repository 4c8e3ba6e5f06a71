
// Products of matrices, C [M,N] = A [M,K]·B [K,N], for the operations that are one. Prepended after the prelude.
//
// A block of THREADS threads makes a tile of C, T::DEPTH terms at a time: they go from memory to registers while the
// terms before them are multiplied, and then to shared memory. Where C has too few tiles to fill a GPU, the terms are
// cut into slices, each with blocks and sums of its own, which are added up in their order.

// Bounds of the kernels with large tiles: registers such that two blocks share a multiprocessor, one of which
// multiplies while the other waits.
#define IN_PAIRS THREADS, 2

// A tile of HEIGHT×WIDTH elements of C in f32, of which each thread sums TM×TN: in groups of 4×4 spread over the tile, so
// that the threads of a warp read neighbouring parts of shared memory.
template <int HEIGHT_, int WIDTH_, int TM_, int TN_> struct ProductTile {
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, TM = TM_, TN = TN_;
    static constexpr int DEPTH = 8;
    // Neighbouring columns of a thread.
    static constexpr int GROUP = 4;
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
};

// The same on tensor cores, with factors in `Format`: each warp makes WARP_HEIGHT×WARP_WIDTH of the tile.
template <typename Format, int HEIGHT_, int WIDTH_, int WARP_HEIGHT, int WARP_WIDTH> struct TensorTile {
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, TM = WARP_HEIGHT / 8, TN = WARP_WIDTH / 4;
    static constexpr int DEPTH = Format::TERMS, GROUP = 2;
    static constexpr int ACROSS = WIDTH / WARP_WIDTH, DOWN = HEIGHT / WARP_HEIGHT;
    static_assert(ACROSS * DOWN * WARP_SIZE == THREADS, "every warp has its part");

    // Rows 8 banks apart: of what a warp reads, no two elements are in one.
    typedef float4 Left[DEPTH][HEIGHT / 4 + 2];
    typedef float4 Right[DEPTH][WIDTH / 4 + 2];

    float sum[TM][TN];

    static __device__ __forceinline__ int first_row() { return int(threadIdx.x) / WARP_SIZE / ACROSS * WARP_HEIGHT; }
    static __device__ __forceinline__ int first_column() {
        return int(threadIdx.x) / WARP_SIZE % ACROSS * WARP_WIDTH;
    }
    static __device__ __forceinline__ int row(int i) { return first_row() + 8 * i + lane_group(); }
    static __device__ __forceinline__ int column(int j) { return first_column() + lane_column(j); }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < TM; i++) {
#pragma unroll
            for (int j = 0; j < TN; j++) sum[i][j] = 0.0f;
        }
    }

    __device__ __forceinline__ void add(const Left &left, const Right &right) {
        multiply_by_terms<Format, WARP_HEIGHT / 16, WARP_WIDTH / 8>(
            sum, reinterpret_cast<const float *>(left) + first_row(), HEIGHT + 8, 16,
            reinterpret_cast<const float *>(right) + first_column(), WIDTH + 8, DEPTH);
    }
};

// Sums terms first … end − 1 into `tile`. `a` and `b` are operands: `load(k)` takes the block's part of terms
// k … k + DEPTH − 1 into registers, 0 for what does not exist; `store(to)` puts it into shared memory. Terms are loaded in
// their order, of `a` first.
template <typename T, typename A, typename B>
__device__ __forceinline__ void multiply(T &tile, A &a, B &b, int first, int end) {
    __shared__ typename T::Left left[2];
    __shared__ typename T::Right right[2];
    tile.clear();
    if (first >= end) return;
    a.load(first);
    b.load(first);
    int stage = 0;
    a.store(left[stage]);
    b.store(right[stage]);
    __syncthreads();
    for (int k = first + T::DEPTH; k < end; k += T::DEPTH) {
        a.load(k);
        b.load(k);
        tile.add(left[stage], right[stage]);
        stage = 1 - stage;
        a.store(left[stage]);
        b.store(right[stage]);
        __syncthreads();
    }
    tile.add(left[stage], right[stage]);
}

// An element of a row of a tile in shared memory.
__device__ __forceinline__ float &element(float4 *row, int i) { return reinterpret_cast<float *>(row)[i]; }
