// Some columns of x [S,R,N] as the rows of y [S,K,R]. A block moves SIDE indices times SIDE rows through shared
// memory, so that both sides are read and written along their rows.
constexpr unsigned SIDE = 32;
constexpr unsigned STRIDE = THREADS / SIDE;

// y[s, i, r] = x[s, r, index[s, i]]; NaN for an index beyond the columns. Blocks: indices, rows, samples.
KERNEL(gather_columns, THREADS, (const float *x, const unsigned *index, float *y, unsigned rows, unsigned columns,
                                 unsigned count, unsigned batch)) {
    __shared__ float tile[SIDE][SIDE + 1];
    unsigned lane = threadIdx.x % SIDE, first = threadIdx.x / SIDE;
    unsigned i0 = blockIdx.x * SIDE, r0 = blockIdx.y * SIDE;
    for (size_t s = blockIdx.z; s < batch; s += gridDim.z) {
        unsigned column = i0 + lane < count ? index[s * count + i0 + lane] : columns;
        __syncthreads();
        for (unsigned r = first; r < SIDE && r0 + r < rows; r += STRIDE) {
            tile[r][lane] = column < columns ? x[(s * rows + r0 + r) * columns + column] : NOT_A_NUMBER;
        }
        __syncthreads();
        for (unsigned i = first; i < SIDE && i0 + i < count; i += STRIDE) {
            if (r0 + lane < rows) y[(s * count + i0 + i) * rows + r0 + lane] = tile[lane][i];
        }
    }
}

// g_x[s, r, index[s, i]] = g_y[s, i, r]; the other columns are left as they are. The indices of a sample differ.
KERNEL(gather_columns_backward, THREADS, (const unsigned *index, const float *g_y, float *g_x, unsigned rows,
                                          unsigned columns, unsigned count, unsigned batch)) {
    __shared__ float tile[SIDE][SIDE + 1];
    unsigned lane = threadIdx.x % SIDE, first = threadIdx.x / SIDE;
    unsigned i0 = blockIdx.x * SIDE, r0 = blockIdx.y * SIDE;
    for (size_t s = blockIdx.z; s < batch; s += gridDim.z) {
        __syncthreads();
        for (unsigned i = first; i < SIDE && i0 + i < count; i += STRIDE) {
            if (r0 + lane < rows) tile[lane][i] = g_y[(s * count + i0 + i) * rows + r0 + lane];
        }
        __syncthreads();
        unsigned column = i0 + lane < count ? index[s * count + i0 + lane] : columns;
        if (column >= columns) continue;
        for (unsigned r = first; r < SIDE && r0 + r < rows; r += STRIDE) {
            g_x[(s * rows + r0 + r) * columns + column] = tile[r][lane];
        }
    }
}
