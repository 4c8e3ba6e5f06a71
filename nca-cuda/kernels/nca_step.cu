// The whole step and its backward, fused: perception, both layers, mask, update.
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

// Transposes and pads the weights, so that a thread's rows lie side by side; b2 may be null.
KERNEL(nca_pack, THREADS, (const float *w1, const float *b1, const float *w2, const float *b2, float *packed,
                           int perceived, int hidden, int channels, int hidden_rows, int state_rows)) {
    size_t first = size_t(perceived) * hidden_rows, first_bias = first + hidden_rows;
    size_t second = first_bias + size_t(hidden_rows) * state_rows, all = second + state_rows;
    FOR_EACH(i, all) {
        float v = 0.0f;
        if (i < first) {
            int d = int(i % hidden_rows);
            if (d < hidden) v = w1[size_t(d) * perceived + i / hidden_rows];
        } else if (i < first_bias) {
            int d = int(i - first);
            if (d < hidden) v = b1[d];
        } else if (i < second) {
            int d = int((i - first_bias) / state_rows), c = int((i - first_bias) % state_rows);
            if (d < hidden && c < channels) v = w2[size_t(c) * hidden + d];
        } else {
            int c = int(i - second);
            if (b2 && c < channels) v = b2[c];
        }
        packed[i] = v;
    }
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

// sum[i][j] += Σ over the columns of a[i] times b[j]: 4 rows of `a`, `step_a` apart, with 4 of `b`, 8 apart.
__device__ __forceinline__ void correlate(float (&sum)[4][4], const float *a, const float *b) {
#pragma unroll 2
    for (int n = 0; n < COLUMNS; n += 4) {
        float4 p[4], q[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            p[i] = *reinterpret_cast<const float4 *>(a + 4 * i * Exact::PADDED + n);
            q[i] = *reinterpret_cast<const float4 *>(b + 8 * i * Exact::PADDED + n);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum[i][j] += p[i].x * q[j].x;
                sum[i][j] += p[i].y * q[j].y;
                sum[i][j] += p[i].z * q[j].z;
                sum[i][j] += p[i].w * q[j].w;
            }
        }
    }
}

// The same on tensor cores: WARP_ROWS rows of `a`, with up to 32 of `b`, of which there are `rows_b`, in blocks of 8.
template <typename P>
__device__ __forceinline__ void correlate_rounded(float (&sum)[2][8], const float *a, const float *b, int rows_b) {
    typedef typename P::Format Format;
    a += lane_group() * P::PADDED + 2 * lane_in_group();
    b += lane_group() * P::PADDED + 2 * lane_in_group();
#pragma unroll 1
    for (int k = 0; k < COLUMNS; k += Format::TERMS) {
        float v[2][Format::EACH];
        unsigned left[4], right[2];
        // Terms 2t and 2t + 1, and those 8 further.
#pragma unroll
        for (int e = 0; e < Format::EACH; e += 2) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float2 two = *reinterpret_cast<const float2 *>(a + 8 * i * P::PADDED + k + 4 * e);
                v[i][e] = two.x, v[i][e + 1] = two.y;
            }
        }
        Format::left(left, v);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            if (8 * n >= rows_b) break;
            float u[Format::EACH];
#pragma unroll
            for (int e = 0; e < Format::EACH; e += 2) {
                float2 two = *reinterpret_cast<const float2 *>(b + 8 * n * P::PADDED + k + 4 * e);
                u[e] = two.x, u[e + 1] = two.y;
            }
            Format::right(right, u);
            Format::multiply(sum[0][2 * n], sum[0][2 * n + 1], sum[1][2 * n], sum[1][2 * n + 1], left, right);
        }
    }
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

// ---- Forward ----------------------------------------------------------------------------------

// Shared memory: weights [ROWS, hidden_rows + PAD], perception [ROWS, STRIDE] (in f32 also partial sums
// [WARPS·WARP_ROWS, COLUMNS]), h [hidden_rows, STRIDE].
template <typename P, int B> __device__ __forceinline__ void step(const Step &s, float *x_next, float *memory) {
    float *weights = memory, *z = weights + ROWS * (s.hidden_rows + P::PAD);
    float *h = z + (P::TENSOR ? ROWS * P::STRIDE : WARPS * WARP_ROWS * COLUMNS);
    Packed p = packed_of(s);
    size_t plane = size_t(s.height) * s.width;
    size_t sample = blockIdx.x / s.sample_tiles * plane * s.channels;
    const float *x = s.x + sample;
    float *out = x_next + sample;
    Tile tile = list_active(s, blockIdx.x, [&](int cell) {
        for (int c0 = 0; c0 < s.channels; c0 += AT_ONCE) {
            float v[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) v[i] = c0 + i < s.channels ? x[(c0 + i) * plane + cell] : 0.0f;
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (c0 + i < s.channels) out[(c0 + i) * plane + cell] = clamped_if(v[i], s.clamp);
            }
        }
    });
    for (int first = 0; first < tile.count; first += COLUMNS) {
        int at[9];
        look_around(s, tile, first, at);
        hidden_layer<P, B>(s, p, x, at, weights, z, h, P::STRIDE);
        for (int c0 = 0; c0 < s.channels; c0 += WARP_ROWS) {
            auto inside = [&](int c, int column) { return c0 + c < s.channels && first + column < tile.count; };
            auto place = [&](int c, int column) { return (c0 + c) * plane + tile.cells[first + column]; };
            output_rows<P>(
                s, p, c0, h, P::STRIDE, weights, z,
                [&](int c, int column) { return inside(c, column) ? x[place(c, column)] : 0.0f; },
                [&](int c, int column, float dx, float before) {
                    if (inside(c, column)) out[place(c, column)] = clamped_if(before + dx, s.clamp);
                });
        }
    }
}

// One block for each tile; up to 64 hidden neurons, and up to 128.
#define STEP_KERNELS(suffix, products)                                                                                \
    KERNEL(nca_step_64##suffix, IN_FIVES, (Step s, float *x_next)) {                                                  \
        DYNAMIC_SHARED(float, memory);                                                                                \
        step<products, 1>(s, x_next, memory);                                                                         \
    }                                                                                                                 \
    KERNEL(nca_step_128##suffix, STEP_THREADS, (Step s, float *x_next)) {                                             \
        DYNAMIC_SHARED(float, memory);                                                                                \
        step<products, 2>(s, x_next, memory);                                                                         \
    }
STEP_KERNELS(, Exact)
STEP_KERNELS(_tf32, Rounded<Tf32>)
STEP_KERNELS(_f16, Rounded<F16>)
STEP_KERNELS(_bf16, Rounded<Bf16>)

// ---- Backward ---------------------------------------------------------------------------------

// What backward needs besides.
struct Backward {
    // The model's weights as they are: [D, KC] and [C, D].
    const float *w1, *w2;
    const float *g_next;
    // Becomes what the clamp lets through of g_next; `nca_gather` adds the rest.
    float *g_x;
    // Gradient of the perception of active cells, [KC, columns]: column (tile · groups + group) · COLUMNS + i.
    float *g_z;
    // Column of each cell, −1 for those that are not active.
    int *column;
    // Sums over the tiles of each block: see `Partial`.
    float *partial;
    size_t partial_len;
    size_t columns;
    int groups;
};

// A block's share of the gradients of the parameters.
struct Partial {
    // [hidden_rows, chunks·ROWS], row k·chunk + i of each chunk of channels; [hidden_rows]; [state_rows, hidden_rows];
    // [state_rows].
    float *first, *first_bias, *second, *second_bias;
    int perceived;
};

__device__ __forceinline__ Partial partial_of(const Step &s, float *partial) {
    int chunk = chunk_of(s), perceived = (s.channels + chunk - 1) / chunk * ROWS;
    float *first_bias = partial + size_t(s.hidden_rows) * perceived;
    float *second = first_bias + s.hidden_rows;
    return {partial, first_bias, second, second + size_t(s.state_rows) * s.hidden_rows, perceived};
}

// Adds to a sum, or starts it: what memory holds before the first term is no number.
__device__ __forceinline__ void add(float *sum, float term, bool fresh) { *sum = fresh ? term : *sum + term; }

// grad[row] += Σ over the columns, for rows of `values`.
template <typename P>
__device__ __forceinline__ void add_rows(const float *values, int rows, float *grad, bool fresh) {
    for (int row = threadIdx.x; row < rows; row += STEP_THREADS) {
        float sum = 0.0f;
        for (int n = 0; n < COLUMNS; n += 4) {
            float4 v = *reinterpret_cast<const float4 *>(values + row * P::PADDED + n);
            sum += v.x, sum += v.y, sum += v.z, sum += v.w;
        }
        add(grad + row, sum, fresh);
    }
}

// A warp's part of `add_products`: WARP_ROWS rows from `row`, 32 columns from `column`.
__device__ __forceinline__ void add_part(Exact, int row, int column, const float *a, const float *b, int rows_b,
                                         float *grad, int stride, bool fresh) {
    int lane = threadIdx.x % WARP_SIZE;
    row += lane / 8, column += lane % 8;
    float sum[4][4] = {};
    correlate(sum, a + row * Exact::PADDED, b + column * Exact::PADDED);
    grad += size_t(row) * stride + column;
    // All loads before the first store.
    if (!fresh) {
        float before[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                before[i][j] = column + 8 * j < rows_b ? grad[size_t(4 * i) * stride + 8 * j] : 0.0f;
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) sum[i][j] = before[i][j] + sum[i][j];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (column + 8 * j < rows_b) grad[size_t(4 * i) * stride + 8 * j] = sum[i][j];
        }
    }
}

template <typename Format>
__device__ __forceinline__ void add_part(Rounded<Format>, int row, int column, const float *a, const float *b,
                                         int rows_b, float *grad, int stride, bool fresh) {
    typedef Rounded<Format> P;
    float sum[2][8] = {};
    correlate_rounded<P>(sum, a + row * P::PADDED, b + column * P::PADDED, rows_b - column);
    auto inside = [&](int j) { return column + lane_column(j) < rows_b; };
    auto place = [&](int i, int j) { return grad + size_t(row + P::row(i)) * stride + column + lane_column(j); };
    // All loads before the first store.
    if (!fresh) {
        float before[2][8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int i = 0; i < 2; i++) before[i][j] = inside(j) ? *place(i, j) : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int i = 0; i < 2; i++) sum[i][j] = before[i][j] + sum[i][j];
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if (inside(j)) *place(i, j) = sum[i][j];
        }
    }
}

// grad [rows_a, stride] += a·bᵀ over the columns; rows_a is a multiple of WARP_ROWS, rows_b of 8.
template <typename P>
__device__ __forceinline__ void add_products(const float *a, int rows_a, const float *b, int rows_b, float *grad,
                                             int stride, bool fresh) {
    int wide = (rows_b + 31) / 32, parts = rows_a / WARP_ROWS * wide;
    for (int part = threadIdx.x / WARP_SIZE; part < parts; part += WARPS) {
        add_part(P(), part / wide * WARP_ROWS, part % wide * 32, a, b, rows_b, grad, stride, fresh);
    }
}

// g_dx of the columns into shared memory, and what passes the clamp into g_x: [state_rows, PADDED].
template <typename P>
__device__ __forceinline__ void update_gradient(const Step &s, const Backward &back, const Packed &p, const Tile &tile,
                                                int first, size_t sample, const float *h, float *weights, float *z,
                                                float *g_dx) {
    size_t plane = size_t(s.height) * s.width;
    auto inside = [&](int c, int column) { return c < s.channels && first + column < tile.count; };
    auto place = [&](int c, int column) { return sample + c * plane + tile.cells[first + column]; };
    auto pass = [&](int c, int column, float g) {
        if (inside(c, column)) back.g_x[place(c, column)] = g;
        g_dx[c * P::PADDED + column] = g;
    };
    if (s.clamp < 0.0f) {
        constexpr int APART = STEP_THREADS / COLUMNS;
        int column = threadIdx.x % COLUMNS;
        for (int c = threadIdx.x / COLUMNS; c < s.state_rows; c += AT_ONCE * APART) {
            float g[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                g[i] = inside(c + i * APART, column) ? back.g_next[place(c + i * APART, column)] : 0.0f;
            }
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (c + i * APART < s.state_rows) pass(c + i * APART, column, g[i]);
            }
        }
        return;
    }
    // Only the clamp asks where the step led.
    for (int c0 = 0; c0 < s.channels; c0 += WARP_ROWS) {
        output_rows<P>(
            s, p, c0, h, P::PADDED, weights, z,
            [&](int c, int column) {
                if (!inside(c0 + c, column)) return make_float2(0.0f, 0.0f);
                size_t i = place(c0 + c, column);
                return make_float2(s.x[i], back.g_next[i]);
            },
            [&](int c, int column, float dx, float2 before) {
                pass(c0 + c, column, within(before.x + dx, s.clamp) ? before.y : 0.0f);
            });
    }
}

// h becomes the gradient before the rectifier, W2ᵀ·g_dx where h is positive.
template <typename P, int B>
__device__ __forceinline__ void hidden_gradient(const Step &s, const float *w2, const float *g_dx, float *weights,
                                                float *h) {
    int warp = threadIdx.x / WARP_SIZE, blocks = blocks_of(warp, s.hidden_rows);
    // Rows of g_dx beyond the channels are zeros.
    int all = P::TENSOR ? s.state_rows : s.channels, stride = s.hidden_rows + P::PAD;
    float sum[B][P::DOWN][P::ACROSS] = {};
    for (int c0 = 0; c0 < all; c0 += ROWS) {
        int rows = min(ROWS, all - c0);
        __syncthreads();
        for (int row = warp; row < rows; row += WARPS) {
            const float *from = w2 + size_t(c0 + row) * s.hidden;
            for (int d = threadIdx.x % WARP_SIZE; d < s.hidden_rows; d += WARP_SIZE) {
                copy_async(weights + row * stride + d, from + d, d < s.hidden && (!P::TENSOR || c0 + row < s.channels));
            }
        }
        await_copies();
        __syncthreads();
        multiply_some<P, B>(blocks, sum, weights + warp * WARP_ROWS, stride, g_dx + c0 * P::PADDED, P::PADDED, rows);
    }
    // Nobody but this thread reads or writes these elements.
    for (int b = 0; b < B; b++) {
        if (b >= blocks) break;
        for (int i = 0; i < P::DOWN; i++) {
            float *row = h + ((warp + b * WARPS) * WARP_ROWS + P::row(i)) * P::PADDED;
            for (int j = 0; j < P::ACROSS; j++) {
                float *element = row + P::column(j);
                *element = *element > 0.0f ? sum[b][i][j] : 0.0f;
            }
        }
    }
}

// g_z = W1ᵀ·g_h of the columns, `g_z` being that of the first column.
template <typename P>
__device__ __forceinline__ void perception_gradient(const Step &s, const Backward &back, const float *g_h,
                                                    float *weights, float *g_z) {
    int warp = threadIdx.x / WARP_SIZE, perceived = s.perception.kernels * s.channels;
    // Rows of g_h beyond the neurons are zeros.
    int all = P::TENSOR ? s.hidden_rows : s.hidden;
    const int wide = WARPS * WARP_ROWS, stride = wide + P::PAD;
    for (int row0 = 0; row0 < perceived; row0 += wide) {
        float sum[1][P::DOWN][P::ACROSS] = {};
        for (int d0 = 0; d0 < all; d0 += ROWS) {
            int terms = min(ROWS, all - d0);
            __syncthreads();
            for (int i = threadIdx.x; i < terms * wide; i += STEP_THREADS) {
                int d = d0 + i / wide, row = row0 + i % wide;
                copy_async(weights + i / wide * stride + i % wide, back.w1 + size_t(d) * perceived + row,
                           row < perceived && (!P::TENSOR || d < s.hidden));
            }
            await_copies();
            __syncthreads();
            P::multiply(sum, weights + warp * WARP_ROWS, stride, g_h + d0 * P::PADDED, P::PADDED, terms);
        }
        for (int i = 0; i < P::DOWN; i++) {
            int row = row0 + warp * WARP_ROWS + P::row(i);
            if (row >= perceived) break;
            P::store(g_z + row * back.columns, sum[0][i]);
        }
    }
}

// One tile; returns whether the block's sums are still to be started. What forward computes is computed with the
// products P, gradients with those of G. Shared memory: weights [ROWS, max(hidden_rows, WARPS·WARP_ROWS) + PAD],
// perception [ROWS, PADDED] (in f32 with a clamp at least WARPS·WARP_ROWS·COLUMNS), h [hidden_rows, PADDED], g_dx
// [state_rows, PADDED].
template <typename P, typename G, int B>
__device__ __forceinline__ bool step_backward(const Step &s, const Backward &back, int index, bool fresh,
                                              float *memory) {
    constexpr int PADDED = P::PADDED;
    static_assert(PADDED == G::PADDED, "both find each other's numbers");
    float *weights = memory, *z = weights + ROWS * (max(s.hidden_rows, WARPS * WARP_ROWS) + P::PAD);
    float *h = z + (P::TENSOR || s.clamp < 0.0f ? ROWS * PADDED : WARPS * WARP_ROWS * COLUMNS);
    float *g_dx = h + s.hidden_rows * PADDED;
    Packed p = packed_of(s);
    Partial grad = partial_of(s, back.partial + blockIdx.x * back.partial_len);
    size_t plane = size_t(s.height) * s.width;
    size_t sample = index / s.sample_tiles * plane * s.channels;
    const float *x = s.x + sample;
    Tile tile = list_active(s, index, [&](int cell) {
        back.column[index / s.sample_tiles * plane + cell] = -1;
        for (int c0 = 0; c0 < s.channels; c0 += AT_ONCE) {
            const size_t at = sample + c0 * plane + cell;
            float g[AT_ONCE], v[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                bool inside = c0 + i < s.channels;
                g[i] = inside ? back.g_next[at + i * plane] : 0.0f;
                v[i] = inside && s.clamp >= 0.0f ? s.x[at + i * plane] : 0.0f;
            }
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (c0 + i < s.channels) back.g_x[at + i * plane] = within(v[i], s.clamp) ? g[i] : 0.0f;
            }
        }
    });
    size_t first_column = size_t(index) * back.groups * COLUMNS;
    for (int i = threadIdx.x; i < tile.count; i += STEP_THREADS) {
        back.column[tile.sample * plane + tile.cells[i]] = int(first_column) + i;
    }
    for (int first = 0; first < tile.count; first += COLUMNS) {
        int at[9];
        look_around(s, tile, first, at);
        hidden_layer<P, B>(s, p, x, at, weights, z, h, PADDED);
        __syncthreads();
        update_gradient<P>(s, back, p, tile, first, sample, h, weights, z, g_dx);
        __syncthreads();
        add_products<G>(g_dx, s.state_rows, h, s.hidden_rows, grad.second, s.hidden_rows, fresh);
        add_rows<G>(g_dx, s.state_rows, grad.second_bias, fresh);
        hidden_gradient<G, B>(s, back.w2, g_dx, weights, h);
        __syncthreads();
        add_rows<G>(h, s.hidden_rows, grad.first_bias, fresh);
        int chunk = chunk_of(s);
        for (int c0 = 0; c0 < s.channels; c0 += chunk) {
            __syncthreads();
            perceive_chunk(s, x, at, c0, z, PADDED);
            clear_unfilled(s, z, PADDED);
            __syncthreads();
            add_products<G>(h, s.hidden_rows, z, ROWS, grad.first + c0 / chunk * ROWS, grad.perceived, fresh);
        }
        perception_gradient<G>(s, back, h, weights, back.g_z + first_column + first);
        __syncthreads();
        fresh = false;
    }
    return fresh;
}

// Every gridDim.x-th tile, and the sums over them.
template <typename P, typename G, int B>
__device__ __forceinline__ void steps_backward(const Step &s, const Backward &back, float *memory) {
    bool fresh = true;
    for (int tile = blockIdx.x; tile < s.tiles; tile += gridDim.x) {
        fresh = step_backward<P, G, B>(s, back, tile, fresh, memory);
    }
    if (!fresh) return;
    // Not one active cell.
    float *partial = back.partial + blockIdx.x * back.partial_len;
    for (size_t i = threadIdx.x; i < back.partial_len; i += STEP_THREADS) partial[i] = 0.0f;
}

// Up to 64 hidden neurons, and up to 128.
#define STEP_BACKWARD_KERNELS(suffix, products, gradients)                                                            \
    KERNEL(nca_step_backward_64##suffix, IN_FOURS, (Step s, Backward back)) {                                         \
        DYNAMIC_SHARED(float, memory);                                                                                \
        steps_backward<products, gradients, 1>(s, back, memory);                                                      \
    }                                                                                                                 \
    KERNEL(nca_step_backward_128##suffix, IN_FOURS, (Step s, Backward back)) {                                        \
        DYNAMIC_SHARED(float, memory);                                                                                \
        steps_backward<products, gradients, 2>(s, back, memory);                                                      \
    }
STEP_BACKWARD_KERNELS(, Exact, Exact)
STEP_BACKWARD_KERNELS(_tf32, Rounded<Tf32>, Rounded<Tf32>)
// Gradients are too small for f16.
STEP_BACKWARD_KERNELS(_f16, Rounded<F16>, Rounded<Tf32>)
STEP_BACKWARD_KERNELS(_bf16, Rounded<Bf16>, Rounded<Bf16>)

// Channels that a thread of `nca_gather` handles: it looks up its neighbours once for all of them.
#define GATHERED 4

// g_x += the gradient of the perception, from all cells that see this one. Blocks: cells, groups of channels,
// samples.
KERNEL(nca_gather, THREADS, (Perception perception, const float *g_z, const int *column, float *g_x, int channels,
                             int height, int width, size_t columns)) {
    size_t plane = size_t(height) * width;
    int first = blockIdx.y * GATHERED;
    column += blockIdx.z * plane;
    g_x += (size_t(blockIdx.z) * channels + first) * plane;
    FOR_EACH(cell, plane) {
        int row = int(cell) / width, at = int(cell) - row * width;
        float sum[GATHERED] = {};
        // What viewer number `from` got of kernel k for its neighbour number d.
        auto gather = [&](int from, int d, int k) {
            float weight = perception.weights[k][d];
#pragma unroll
            for (int c = 0; c < GATHERED; c++) {
                if (from >= 0 && first + c < channels) {
                    sum[c] += weight * g_z[(size_t(k) * channels + first + c) * columns + from];
                }
            }
        };
        // Only where the border cell sees itself are there second viewers.
        if (perception.padding == 2 && (row == 0 || row == height - 1 || at == 0 || at == width - 1)) {
            for (int d = 0; d < 9; d++) {
                Viewers rows = viewers(perception.padding, row, d / 3, height);
                Viewers across = viewers(perception.padding, at, d % 3, width);
                for (int i = 0; i < 4; i++) {
                    int y = i & 2 ? rows.second : rows.first, x = i & 1 ? across.second : across.first;
                    int from = y < 0 || x < 0 ? -1 : column[y * width + x];
                    for (int k = 0; k < perception.kernels; k++) gather(from, d, k);
                }
            }
        } else {
            // All nine are looked up before the first is used. The conditions after that are the compiler's to make
            // predicates of, so that loads overlap.
            int from[9];
#pragma unroll
            for (int d = 0; d < 9; d++) {
                int y = viewers(perception.padding, row, d / 3, height).first;
                int x = viewers(perception.padding, at, d % 3, width).first;
                from[d] = y < 0 || x < 0 ? -1 : column[y * width + x];
            }
#pragma unroll
            for (int d = 0; d < 9; d++) {
                if (perception.kernels == 4) {
#pragma unroll
                    for (int k = 0; k < 4; k++) gather(from[d], d, k);
                } else {
                    for (int k = 0; k < perception.kernels; k++) gather(from[d], d, k);
                }
            }
        }
        for (int c = 0; c < GATHERED; c++) {
            if (first + c < channels) g_x[c * plane + cell] += sum[c];
        }
    }
}

// Threads that share the sum of one element in `nca_add_partial`.
#define SHARES 8

// grads += Σ over the blocks of their partial sums, in a fixed order. THREADS / SHARES elements for each block; b2 may be
// null.
KERNEL(nca_add_partial, THREADS, (const float *partial, size_t partial_len, int blocks, float *w1, float *b1, float *w2,
                                  float *b2, int kernels, int hidden, int channels, int hidden_rows, int state_rows)) {
    __shared__ float sums[SHARES][THREADS / SHARES];
    int element = threadIdx.x % (THREADS / SHARES), share = threadIdx.x / (THREADS / SHARES);
    size_t i = size_t(blockIdx.x) * (THREADS / SHARES) + element;
    float sum = 0.0f;
    if (i < partial_len) {
        for (int b = share; b < blocks; b += SHARES) sum += partial[b * partial_len + i];
    }
    sums[share][element] = sum;
    __syncthreads();
    if (share > 0 || i >= partial_len) return;
    sum = 0.0f;
    for (int s = 0; s < SHARES; s++) sum += sums[s][element];
    int chunk = ROWS / kernels, perceived = (channels + chunk - 1) / chunk * ROWS;
    size_t first = size_t(hidden_rows) * perceived, first_bias = first + hidden_rows;
    size_t second = first_bias + size_t(state_rows) * hidden_rows;
    if (i < first) {
        int d = int(i / perceived), row = int(i % perceived);
        int k = row % ROWS / chunk, c = row / ROWS * chunk + row % ROWS % chunk;
        if (d < hidden && k < kernels && c < channels) w1[(size_t(d) * kernels + k) * channels + c] += sum;
    } else if (i < first_bias) {
        if (int(i - first) < hidden) b1[i - first] += sum;
    } else if (i < second) {
        int c = int((i - first_bias) / hidden_rows), d = int((i - first_bias) % hidden_rows);
        if (c < channels && d < hidden) w2[size_t(c) * hidden + d] += sum;
    } else if (b2 && int(i - second) < channels) {
        b2[i - second] += sum;
    }
}
