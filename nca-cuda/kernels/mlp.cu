// The two layers as products of a weight matrix with the columns of a batch of planes, for networks of any
// size. (The step has kernels of its own for all but the largest networks.)

// A block makes TILE×TILE elements of the product, each thread 4×4 of them, STEP terms at a time.
#define TILE 64
#define STEP 16

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
KERNEL(mlp_product, THREADS, (Product p)) {
    __shared__ float a[STEP][TILE], b[STEP][TILE];
    int row0 = blockIdx.y * TILE, tr = threadIdx.x / 16 * 4, tc = threadIdx.x % 16 * 4;
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
#pragma unroll
        for (int k = 0; k < STEP; k++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a[k][tr + i] * b[k][tc + j];
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        int row = row0 + tr + i;
        if (row >= p.rows) break;
        for (int j = 0; j < 4 && column0 + tc + j < p.plane; j++) {
            size_t at = (size_t(blockIdx.z) * p.rows + row) * p.plane + column0 + tc + j;
            float v = sum[i][j] + (p.bias ? p.bias[row] : 0.0f);
            if (p.rectify) v = rectified(v);
            if (p.mask && !(p.mask[at] > 0.0f)) v = 0.0f;
            p.out[at] = v;
        }
    }
}

// partial[slice] [rows, columns] = Σ over the slice's cells of g[b, row, cell] · v[b, column, cell]: the gradient of
// a layer's weights. A slice is `span` of the cells of all samples. Blocks: columns, rows, slices.
KERNEL(mlp_outer, THREADS, (const float *g, const float *v, float *partial, int rows, int columns, size_t plane,
                            size_t cells, size_t span)) {
    // One more than the tile: threads store along k.
    __shared__ float a[STEP][TILE + 1], b[STEP][TILE + 1];
    int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE;
    int tr = threadIdx.x / 16 * 4, tc = threadIdx.x % 16 * 4;
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
#pragma unroll
        for (int k = 0; k < STEP; k++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a[k][tr + i] * b[k][tc + j];
            }
        }
        __syncthreads();
    }
    partial += blockIdx.z * size_t(rows) * columns;
    for (int i = 0; i < 4 && row0 + tr + i < rows; i++) {
        for (int j = 0; j < 4 && column0 + tc + j < columns; j++) {
            partial[size_t(row0 + tr + i) * columns + column0 + tc + j] = sum[i][j];
        }
    }
}

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
