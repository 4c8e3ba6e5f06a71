// One warp for each row.
#define FOR_ROWS(row, n)                                                                                  \
    for (size_t row = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) / WARP_SIZE; row < (n);             \
         row += size_t(gridDim.x) * (THREADS / WARP_SIZE))

// norms[r] = √(Σ x[r]² + ε), y[r] = x[r] / norms[r].
KERNEL(normalize_rows, THREADS, (const float *x, float *y, float *norms, size_t rows, size_t len, float epsilon)) {
    unsigned lane = threadIdx.x % WARP_SIZE;
    FOR_ROWS(row, rows) {
        const float *from = x + row * len;
        float sum = 0.0f;
        for (size_t j = lane; j < len; j += WARP_SIZE) sum += from[j] * from[j];
        float norm = sqrtf(__shfl_sync(ALL_LANES, warp_sum(sum), 0) + epsilon);
        if (lane == 0) norms[row] = norm;
        for (size_t j = lane; j < len; j += WARP_SIZE) y[row * len + j] = from[j] / norm;
    }
}

// g_x[r] = (g_y[r] − (g_y[r]·y[r]) y[r]) / norms[r].
KERNEL(normalize_rows_backward, THREADS, (const float *y, const float *norms, const float *g_y, float *g_x,
                                          size_t rows, size_t len)) {
    unsigned lane = threadIdx.x % WARP_SIZE;
    FOR_ROWS(row, rows) {
        size_t start = row * len;
        float sum = 0.0f;
        for (size_t j = lane; j < len; j += WARP_SIZE) sum += g_y[start + j] * y[start + j];
        float product = __shfl_sync(ALL_LANES, warp_sum(sum), 0), norm = norms[row];
        for (size_t j = lane; j < len; j += WARP_SIZE) g_x[start + j] = (g_y[start + j] - product * y[start + j]) / norm;
    }
}

#undef FOR_ROWS
