// The gradient of a step, fused but for two sums: what each cell sees of its neighbours' gradients (`nca_gather`), and the
// parameters' gradients of all blocks (`nca_add_partial`), which are added in a fixed order.

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

// ---- Sums over cells --------------------------------------------------------------------------

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
