// What the fused step (`nca_step.cu`) and its gradient (`nca_step_backward.cu`) share: tiles, perception, products.
//
// A block takes a tile of consecutive cells of one sample, lists the active ones, and computes those, COLUMNS
// at a time: what is not active is only copied. The tile is so large that its active cells mostly fill the
// columns once. Perception never leaves shared memory: ROWS of its rows (all kernels of some channels) are
// made, multiplied, and made anew where backward needs them a second time.
//
// All products have one shape: a warp multiplies 16 rows of weights with COLUMNS columns. In f32 each thread sums 4 rows
// with 4 + 4 columns (`Exact`), in other precisions the tensor cores do (`Rounded`).

// Threads of a block.
#define STEP_THREADS 128
// Bounds of the kernels that would take more registers than four or five blocks can have together.
#define IN_FOURS STEP_THREADS, 4
#define IN_FIVES STEP_THREADS, 5
#define WARPS (STEP_THREADS / WARP_SIZE)
// Cells that are computed together.
#define COLUMNS 64
// Rows of perception, or terms of another product, in shared memory at a time.
#define ROWS 32
// Rows of a warp's product.
#define WARP_ROWS 16
// Longest tile.
#define MAX_TILE 512
// Channels whose values are loaded before the first of them is stored: no load passes a store that may be to the same
// address, and each alone would wait for memory.
#define AT_ONCE 8

// What a step needs; `hidden_rows` and `state_rows` are the numbers of neurons and channels rounded up to
// WARP_ROWS.
struct Step {
    Perception perception;
    MaskKey key;
    // Negative for none.
    float clamp;
    int channels, hidden, state_rows, hidden_rows;
    int height, width;
    // Cells of a tile, tiles of a sample, tiles of all samples.
    int tile, sample_tiles, tiles;
    // The weights as `nca_pack` arranges them.
    const float *packed;
    const float *x;
};

// ---- Copies -----------------------------------------------------------------------------------

#ifndef EMULATED
// From global to shared memory, or zeros if not `inside`; `await_copies` and a barrier must come before the first use.
// The thread does not wait: all its copies are under way at once.
__device__ __forceinline__ void copy_async(float4 *to, const float4 *from, bool inside) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(unsigned(__cvta_generic_to_shared(to))),
                 "l"(from), "r"(inside ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void copy_async(float *to, const float *from, bool inside) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(unsigned(__cvta_generic_to_shared(to))),
                 "l"(from), "r"(inside ? 4 : 0)
                 : "memory");
}
__device__ __forceinline__ void await_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif

// ---- Weights ----------------------------------------------------------------------------------

// Where the parts of the packed weights start. Rows and columns beyond the model's are zeros.
struct Packed {
    // [KC, hidden_rows], [hidden_rows], [hidden_rows, state_rows], [state_rows].
    const float *first, *first_bias, *second, *second_bias;
};

__device__ __forceinline__ Packed packed_of(const Step &s) {
    size_t perceived = size_t(s.perception.kernels) * s.channels;
    const float *first_bias = s.packed + perceived * s.hidden_rows;
    const float *second = first_bias + s.hidden_rows;
    return {s.packed, first_bias, second, second + size_t(s.hidden_rows) * s.state_rows};
}

// ---- Products ---------------------------------------------------------------------------------

// Products in f32. A thread has DOWN rows of each of its warp's blocks, and ACROSS columns.
struct Exact {
    static constexpr bool TENSOR = false;
    static constexpr int DOWN = 4, ACROSS = 8;
    // Added to rows of weights; between rows of values forward, and backward, where threads of different rows read along
    // the columns: no bank conflicts.
    static constexpr int PAD = 0, STRIDE = COLUMNS, PADDED = COLUMNS + 4;

    static __device__ __forceinline__ int row(int i) { return int(threadIdx.x % WARP_SIZE) / 8 * 4 + i; }
    static __device__ __forceinline__ int column() { return int(threadIdx.x % WARP_SIZE) % 8 * 4; }
    static __device__ __forceinline__ int column(int j) { return column() + (j < 4 ? j : j - 4 + COLUMNS / 2); }

    // Stores the thread's part of a row.
    static __device__ __forceinline__ void store(float *row, const float (&v)[ACROSS]) {
        float *at = row + column();
        *reinterpret_cast<float4 *>(at) = make_float4(v[0], v[1], v[2], v[3]);
        *reinterpret_cast<float4 *>(at + COLUMNS / 2) = make_float4(v[4], v[5], v[6], v[7]);
    }

    // sum[b] += rows of block b of `weights`, the warp's, times the columns of `values`, over `terms` terms. Blocks of
    // rows are WARPS·WARP_ROWS apart.
    template <int B>
    static __device__ __forceinline__ void multiply(float (&sum)[B][DOWN][ACROSS], const float *weights,
                                                    int weight_stride, const float *values, int value_stride,
                                                    int terms) {
        weights += row(0);
        values += column();
#pragma unroll 2
        for (int k = 0; k < terms; k++) {
            float4 low = *reinterpret_cast<const float4 *>(values + k * value_stride);
            float4 high = *reinterpret_cast<const float4 *>(values + k * value_stride + COLUMNS / 2);
            float v[ACROSS] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int b = 0; b < B; b++) {
                float4 rows =
                    *reinterpret_cast<const float4 *>(weights + k * weight_stride + b * (WARPS * WARP_ROWS));
                float w[DOWN] = {rows.x, rows.y, rows.z, rows.w};
#pragma unroll
                for (int i = 0; i < DOWN; i++) {
#pragma unroll
                    for (int j = 0; j < ACROSS; j++) sum[b][i][j] += w[i] * v[j];
                }
            }
        }
    }
};

// Products of factors in `Format`, by tensor cores; numbers of terms are multiples of WARP_ROWS.
template <typename Format_> struct Rounded {
    typedef Format_ Format;
    static constexpr bool TENSOR = true;
    static constexpr int DOWN = 2, ACROSS = COLUMNS / 4;
    // Rows that are read down, 4 of them at a time, start 8 banks apart, and so do those that are read in pairs along the
    // columns.
    static constexpr int PAD = 8, STRIDE = COLUMNS + 8, PADDED = COLUMNS + 8;

    static __device__ __forceinline__ int row(int i) { return lane_group() + 8 * i; }
    static __device__ __forceinline__ int column(int j) { return lane_column(j); }

    static __device__ __forceinline__ void store(float *row, const float (&v)[ACROSS]) {
#pragma unroll
        for (int j = 0; j < ACROSS; j += 2) {
            *reinterpret_cast<float2 *>(row + column(j)) = make_float2(v[j], v[j + 1]);
        }
    }

    template <int B>
    static __device__ __forceinline__ void multiply(float (&sum)[B][DOWN][ACROSS], const float *weights,
                                                    int weight_stride, const float *values, int value_stride,
                                                    int terms) {
        multiply_by_terms<Format, B, COLUMNS / 8>(reinterpret_cast<float(&)[2 * B][ACROSS]>(sum), weights,
                                                  weight_stride, WARPS * WARP_ROWS, values, value_stride, terms);
    }
};

// `P::multiply` for a warp that has `blocks` ≤ B blocks of rows.
template <typename P, int B>
__device__ __forceinline__ void multiply_some(int blocks, float (&sum)[B][P::DOWN][P::ACROSS], const float *weights,
                                              int weight_stride, const float *values, int value_stride, int terms) {
    if (blocks == B) {
        P::multiply(sum, weights, weight_stride, values, value_stride, terms);
    } else if (B == 2 && blocks == 1) {
        P::multiply(reinterpret_cast<float(&)[1][P::DOWN][P::ACROSS]>(sum), weights, weight_stride, values,
                    value_stride, terms);
    }
}

// How many of `rows` rows, in blocks of WARP_ROWS dealt to the warps in turn, are this warp's.
__device__ __forceinline__ int blocks_of(int warp, int rows) {
    int blocks = rows / WARP_ROWS - warp;
    return blocks <= 0 ? 0 : (blocks + WARPS - 1) / WARPS;
}

// ---- Cells ------------------------------------------------------------------------------------

// A tile of one sample: its active cells in ascending order.
struct Tile {
    int sample, first, count;
    int *cells;
};

// Lists the active cells of a tile and calls `passive(cell)` for the others.
template <typename F> __device__ __forceinline__ Tile list_active(const Step &s, int tile, F passive) {
    __shared__ int cells[MAX_TILE];
    __shared__ int votes[WARPS];
    int plane = s.height * s.width;
    Tile t = {tile / s.sample_tiles, tile % s.sample_tiles * s.tile, 0, cells};
    int warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    for (int base = 0; base < s.tile; base += STEP_THREADS) {
        int i = base + int(threadIdx.x), cell = t.first + i;
        bool inside = i < s.tile && cell < plane;
        bool active = inside && is_active(s.key, t.sample, cell);
        unsigned vote = __ballot_sync(ALL_LANES, active);
        if (lane == 0) votes[warp] = __popc(vote);
        __syncthreads();
        int at = t.count + __popc(vote & ((1u << lane) - 1u));
        for (int w = 0; w < WARPS; w++) {
            if (w < warp) at += votes[w];
            t.count += votes[w];
        }
        if (active) cells[at] = cell;
        if (inside && !active) passive(cell);
        __syncthreads();
    }
    return t;
}

// The neighbourhood of this thread's column among the COLUMNS from `first`: indices into a plane, −1 where
// there is nothing to see.
__device__ __forceinline__ void look_around(const Step &s, const Tile &t, int first, int (&at)[9]) {
    int column = first + int(threadIdx.x % COLUMNS);
    int cell = column < t.count ? t.cells[column] : -1;
    int row = cell / s.width, across = cell - row * s.width;
#pragma unroll
    for (int d = 0; d < 9; d++) {
        int y = along(s.perception.padding, row, d / 3, s.height);
        int x = along(s.perception.padding, across, d % 3, s.width);
        at[d] = cell < 0 || y < 0 || x < 0 ? -1 : y * s.width + x;
    }
}

// Channels whose perception is in shared memory at a time.
__device__ __forceinline__ int chunk_of(const Step &s) { return ROWS / s.perception.kernels; }

// Perceives channels c0 and following: row k·chunk + (c − c0) of z, `stride` apart; zeros beyond the channels and
// in columns without a cell. `x` is the sample.
__device__ __forceinline__ void perceive_chunk(const Step &s, const float *x, const int (&at)[9], int c0, float *z,
                                               int stride) {
    int chunk = chunk_of(s), column = threadIdx.x % COLUMNS;
    size_t plane = size_t(s.height) * s.width;
    for (int i = threadIdx.x / COLUMNS; i < chunk; i += STEP_THREADS / COLUMNS) {
        float seen[9];
#pragma unroll
        for (int d = 0; d < 9; d++) {
            seen[d] = c0 + i < s.channels && at[d] >= 0 ? x[(c0 + i) * plane + at[d]] : 0.0f;
        }
        auto perceive = [&](int k) {
            float sum = 0.0f;
#pragma unroll
            for (int d = 0; d < 9; d++) sum += s.perception.weights[k][d] * seen[d];
            z[(k * chunk + i) * stride + column] = sum;
        };
        // With a constant index a weight is an operand, and no load.
        if (s.perception.kernels == 4) {
#pragma unroll
            for (int k = 0; k < 4; k++) perceive(k);
        } else {
            for (int k = 0; k < s.perception.kernels; k++) perceive(k);
        }
    }
}

// Zeros in the rows of perception that no kernel fills.
__device__ __forceinline__ void clear_unfilled(const Step &s, float *z, int stride) {
    for (int i = s.perception.kernels * chunk_of(s) * stride + threadIdx.x; i < ROWS * stride; i += STEP_THREADS) {
        z[i] = 0.0f;
    }
}

// Starts to copy the rows of the first layer's weights that belong to the chunk's rows of perception; with tensor cores,
// and zeros for those that no kernel fills. A warp takes a row at a time, whose up to 32 quads are its lanes'.
template <typename P>
__device__ __forceinline__ void load_first(const Step &s, const float *first, int c0, float *weights) {
    int chunk = chunk_of(s), quads = s.hidden_rows / 4, filled = s.perception.kernels * chunk;
    int rows = P::TENSOR ? ROWS : filled, quad = threadIdx.x % WARP_SIZE;
    if (quad >= quads) return;
    // Row k·chunk + i.
    int k = 0, i = threadIdx.x / WARP_SIZE;
    for (int row = i; row < rows; row += WARPS, i += WARPS) {
        while (i >= chunk) i -= chunk, k++;
        bool inside = c0 + i < s.channels && (!P::TENSOR || row < filled);
        const float *from = first + size_t(k * s.channels + c0 + i) * s.hidden_rows + 4 * quad;
        copy_async(reinterpret_cast<float4 *>(weights + row * (s.hidden_rows + P::PAD) + 4 * quad),
                   reinterpret_cast<const float4 *>(from), inside);
    }
}

// h[d] = relu(W1·z + b1) of the columns, rows `stride` apart. Uses `weights` and `z`.
template <typename P, int B>
__device__ __forceinline__ void hidden_layer(const Step &s, const Packed &p, const float *x, const int (&at)[9],
                                             float *weights, float *z, float *h, int stride) {
    int warp = threadIdx.x / WARP_SIZE, blocks = blocks_of(warp, s.hidden_rows);
    float sum[B][P::DOWN][P::ACROSS] = {};
    for (int c0 = 0; c0 < s.channels; c0 += chunk_of(s)) {
        __syncthreads();
        load_first<P>(s, p.first, c0, weights);
        perceive_chunk(s, x, at, c0, z, stride);
        if (P::TENSOR) clear_unfilled(s, z, stride);
        await_copies();
        __syncthreads();
        multiply_some<P, B>(blocks, sum, weights + warp * WARP_ROWS, s.hidden_rows + P::PAD, z, stride,
                            P::TENSOR ? ROWS : s.perception.kernels * chunk_of(s));
    }
    for (int b = 0; b < B; b++) {
        if (b >= blocks) break;
        for (int i = 0; i < P::DOWN; i++) {
            int d = (warp + b * WARPS) * WARP_ROWS + P::row(i);
            float bias = p.first_bias[d];
            for (int j = 0; j < P::ACROSS; j++) sum[b][i][j] = rectified(sum[b][i][j] + bias);
            P::store(h + d * stride, sum[b][i]);
        }
    }
}

// The product of `output_rows` in f32: the warps divide the terms among them.
template <typename S, typename F>
__device__ __forceinline__ void output_product(Exact, const Step &s, const float *bias, const float *h, int stride,
                                               const float *weights, float *partial, S seen, F done) {
    constexpr int APART = STEP_THREADS / COLUMNS, EACH = WARP_ROWS / APART;
    int warp = threadIdx.x / WARP_SIZE, terms = s.hidden_rows / WARPS, first = warp * terms;
    float sum[1][Exact::DOWN][Exact::ACROSS] = {};
    Exact::multiply(sum, weights + first * WARP_ROWS, WARP_ROWS, h + first * stride, stride, terms);
#pragma unroll
    for (int i = 0; i < Exact::DOWN; i++) {
        Exact::store(partial + (warp * WARP_ROWS + Exact::row(i)) * COLUMNS, sum[0][i]);
    }
    int column = threadIdx.x % COLUMNS, c = threadIdx.x / COLUMNS;
    decltype(seen(0, 0)) before[EACH];
    float v[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) before[i] = seen(c + i * APART, column), v[i] = bias[c + i * APART];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < EACH; i++) {
#pragma unroll
        for (int w = 0; w < WARPS; w++) v[i] += partial[(w * WARP_ROWS + c + i * APART) * COLUMNS + column];
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) done(c + i * APART, column, v[i], before[i]);
}

// On tensor cores: they divide the columns, since a quarter of the terms need not be a multiple of what is multiplied at
// a time.
template <typename Format, typename S, typename F>
__device__ __forceinline__ void output_product(Rounded<Format>, const Step &s, const float *bias, const float *h,
                                               int stride, const float *weights, float *, S seen, F done) {
    constexpr int EACH = COLUMNS / WARPS / 4;
    int first = threadIdx.x / WARP_SIZE * (COLUMNS / WARPS);
    float sum[2][EACH] = {};
    multiply_by_terms<Format, 1, COLUMNS / WARPS / 8>(sum, weights, WARP_ROWS + Rounded<Format>::PAD, 0, h + first,
                                                      stride, s.hidden_rows);
    decltype(seen(0, 0)) before[2][EACH];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int c = lane_group() + 8 * i;
        float v = bias[c];
#pragma unroll
        for (int j = 0; j < EACH; j++) before[i][j] = seen(c, first + lane_column(j)), sum[i][j] += v;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < EACH; j++) done(lane_group() + 8 * i, first + lane_column(j), sum[i][j], before[i][j]);
    }
}

// WARP_ROWS rows of W2·h + b2 from channel c0. For its share, every thread asks for `seen(channel − c0, column)`, all that
// it needs at once, and then calls `done(channel − c0, column, value, seen)`. Uses `weights`, and in f32 `partial`, which
// must hold WARPS·WARP_ROWS·COLUMNS.
template <typename P, typename S, typename F>
__device__ __forceinline__ void output_rows(const Step &s, const Packed &p, int c0, const float *h, int stride,
                                            float *weights, float *partial, S seen, F done) {
    __syncthreads();
    for (int i = threadIdx.x; i < s.hidden_rows * (WARP_ROWS / 4); i += STEP_THREADS) {
        int d = i / (WARP_ROWS / 4), quad = i % (WARP_ROWS / 4);
        copy_async(reinterpret_cast<float4 *>(weights + d * (WARP_ROWS + P::PAD) + 4 * quad),
                   reinterpret_cast<const float4 *>(p.second + size_t(d) * s.state_rows + c0 + 4 * quad), true);
    }
    await_copies();
    __syncthreads();
    output_product(P(), s, p.second_bias + c0, h, stride, weights, partial, seen, done);
}
