// The two layers as products of a weight matrix with the columns of a batch of planes, for networks of any
// size. (The step has kernels of its own for all but the largest networks.)

// A block makes TILE×TILE elements of the product, each thread 4×4 of them, STEP terms at a time.
#define TILE 64
#define STEP 16

// A thread's 4×4 elements of a tile, from STEP terms of both factors in shared memory, [k][row] and [k][column].
struct Exact {
    // Added to rows of the tiles that threads store along the rows, and along the terms.
    static constexpr int PAD = 0, PAD_TERMS = 1;
    static __device__ __forceinline__ int row(int i) { return int(threadIdx.x) / 16 * 4 + i; }
    static __device__ __forceinline__ int column(int j) { return int(threadIdx.x) % 16 * 4 + j; }
    static __device__ __forceinline__ void multiply(float (&sum)[4][4], const float *a, const float *b, int stride) {
#pragma unroll
        for (int k = 0; k < STEP; k++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a[k * stride + row(i)] * b[k * stride + column(j)];
            }
        }
    }
};

// On tensor cores, each warp making 32×16.
template <typename Format> struct Rounded {
    static constexpr int PAD = 8, PAD_TERMS = 8;
    static __device__ __forceinline__ int first_row() { return int(threadIdx.x) / WARP_SIZE / 4 * 32; }
    static __device__ __forceinline__ int first_column() { return int(threadIdx.x) / WARP_SIZE % 4 * 16; }
    static __device__ __forceinline__ int row(int i) { return first_row() + 8 * i + lane_group(); }
    static __device__ __forceinline__ int column(int j) { return first_column() + lane_column(j); }
    static __device__ __forceinline__ void multiply(float (&sum)[4][4], const float *a, const float *b, int stride) {
        multiply_by_terms<Format, 2, 2>(sum, a + first_row(), stride, 16, b + first_column(), stride, STEP);
    }
};

// One product: out[b] = A·in[b], then what the layer does to it.
struct Product {
    // A is [rows, inner], or stored transposed.
    const float *a;
    const float *in;
    // Per row, or null.
    const float *bias;
    // Elements of the output whose partner here is not positive are 0; or null.
    const float *mask;
    float *out;
    int rows, inner, transposed, rectify;
    size_t plane;
};

// out [B,rows,P] of in [B,inner,P]. Blocks: columns, rows, samples.
template <typename T> __device__ __forceinline__ void product(const Product &p) {
    __shared__ float a[STEP][TILE + T::PAD], b[STEP][TILE + T::PAD];
    int row0 = blockIdx.y * TILE;
    size_t column0 = size_t(blockIdx.x) * TILE;
    const float *in = p.in + size_t(blockIdx.z) * p.inner * p.plane;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < p.inner; k0 += STEP) {
        for (int i = threadIdx.x; i < STEP * TILE; i += THREADS) {
            // Neighbouring threads read neighbouring weights, and write without conflicts where they can.
            int k = p.transposed ? i / TILE : i % STEP, row = p.transposed ? i % TILE : i / STEP;
            bool inside = k0 + k < p.inner && row0 + row < p.rows;
            size_t at = p.transposed ? size_t(k0 + k) * p.rows + row0 + row : size_t(row0 + row) * p.inner + k0 + k;
            a[k][row] = inside ? p.a[at] : 0.0f;
            k = i / TILE;
            size_t column = column0 + i % TILE;
            b[k][i % TILE] = k0 + k < p.inner && column < p.plane ? in[(k0 + k) * p.plane + column] : 0.0f;
        }
        __syncthreads();
        T::multiply(sum, *a, *b, TILE + T::PAD);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        int row = row0 + T::row(i);
        if (row >= p.rows) break;
        for (int j = 0; j < 4 && column0 + T::column(j) < p.plane; j++) {
            size_t at = (size_t(blockIdx.z) * p.rows + row) * p.plane + column0 + T::column(j);
            float v = sum[i][j] + (p.bias ? p.bias[row] : 0.0f);
            if (p.rectify) v = rectified(v);
            if (p.mask && !(p.mask[at] > 0.0f)) v = 0.0f;
            p.out[at] = v;
        }
    }
}

KERNEL(mlp_product, THREADS, (Product p)) { product<Exact>(p); }
KERNEL(mlp_product_tf32, THREADS, (Product p)) { product<Rounded<Tf32>>(p); }
KERNEL(mlp_product_f16, THREADS, (Product p)) { product<Rounded<F16>>(p); }
KERNEL(mlp_product_bf16, THREADS, (Product p)) { product<Rounded<Bf16>>(p); }

// partial[slice] [rows, columns] = Σ over the slice's cells of g[b, row, cell] · v[b, column, cell]: the gradient of
// a layer's weights. A slice is `span` of the cells of all samples. Blocks: columns, rows, slices.
template <typename T>
__device__ __forceinline__ void outer(const float *g, const float *v, float *partial, int rows, int columns,
                                      size_t plane, size_t cells, size_t span) {
    __shared__ float a[STEP][TILE + T::PAD_TERMS], b[STEP][TILE + T::PAD_TERMS];
    int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE;
    size_t first = blockIdx.z * span, end = min(first + span, cells);
    float sum[4][4] = {};
    for (size_t k0 = first; k0 < end; k0 += STEP) {
        for (int i = threadIdx.x; i < STEP * TILE; i += THREADS) {
            int k = i % STEP, row = i / STEP;
            size_t cell = k0 + k, sample = cell / plane, at = cell % plane;
            bool inside = cell < end;
            a[k][row] = inside && row0 + row < rows ? g[(sample * rows + row0 + row) * plane + at] : 0.0f;
            b[k][row] = inside && column0 + row < columns ? v[(sample * columns + column0 + row) * plane + at] : 0.0f;
        }
        __syncthreads();
        T::multiply(sum, *a, *b, TILE + T::PAD_TERMS);
        __syncthreads();
    }
    partial += blockIdx.z * size_t(rows) * columns;
    for (int i = 0; i < 4 && row0 + T::row(i) < rows; i++) {
        for (int j = 0; j < 4 && column0 + T::column(j) < columns; j++) {
            partial[size_t(row0 + T::row(i)) * columns + column0 + T::column(j)] = sum[i][j];
        }
    }
}

// Not in f16, which gradients are too small for.
#define OUTER_KERNEL(suffix, tile)                                                                                    \
    KERNEL(mlp_outer##suffix, THREADS, (const float *g, const float *v, float *partial, int rows, int columns,        \
                                        size_t plane, size_t cells, size_t span)) {                                   \
        outer<tile>(g, v, partial, rows, columns, plane, cells, span);                                                \
    }
OUTER_KERNEL(, Exact)
OUTER_KERNEL(_tf32, Rounded<Tf32>)
OUTER_KERNEL(_bf16, Rounded<Bf16>)

// grad[i] += Σ over slices of partial[slice, i], in their order.
KERNEL(mlp_add_slices, THREADS, (const float *partial, float *grad, size_t len, int slices)) {
    FOR_EACH(i, len) {
        float sum = 0.0f;
        for (int s = 0; s < slices; s++) sum += partial[s * len + i];
        grad[i] += sum;
    }
}

// grad[row] += Σ over samples and cells of g[b, row, cell]: the gradient of a bias. One block for each row.
KERNEL(mlp_add_rows, THREADS, (const float *g, float *grad, int rows, int batch, size_t plane)) {
    float sum = 0.0f;
    for (int b = 0; b < batch; b++) {
        const float *row = g + (size_t(b) * rows + blockIdx.x) * plane;
        for (size_t i = threadIdx.x; i < plane; i += THREADS) sum += row[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) grad[blockIdx.x] += sum;
}
