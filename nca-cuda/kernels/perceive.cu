// z[b, k·C + c] = kernel k seen at every cell of x[b, c]. One block row for each channel, one layer for each
// sample.
KERNEL(perceive, THREADS, (Perception perception, const float *x, float *z, int height, int width)) {
    int channels = gridDim.y;
    size_t plane = size_t(height) * width;
    x += (size_t(blockIdx.z) * channels + blockIdx.y) * plane;
    z += (size_t(blockIdx.z) * perception.kernels * channels + blockIdx.y) * plane;
    FOR_EACH(cell, plane) {
        int row = int(cell / width), column = int(cell % width);
        float seen[9];
#pragma unroll
        for (int d = 0; d < 9; d++) {
            int y = along(perception.padding, row, d / 3, height);
            int at = along(perception.padding, column, d % 3, width);
            seen[d] = y < 0 || at < 0 ? 0.0f : x[size_t(y) * width + at];
        }
        for (int k = 0; k < perception.kernels; k++) {
            float sum = 0.0f;
#pragma unroll
            for (int d = 0; d < 9; d++) sum += perception.weights[k][d] * seen[d];
            z[size_t(k) * channels * plane + cell] = sum;
        }
    }
}

// g_x[b, c] = Σ over kernels and over the cells that see this one. The same grid.
KERNEL(perceive_backward, THREADS, (Perception perception, const float *g_z, float *g_x, int height, int width)) {
    int channels = gridDim.y;
    size_t plane = size_t(height) * width;
    g_x += (size_t(blockIdx.z) * channels + blockIdx.y) * plane;
    g_z += (size_t(blockIdx.z) * perception.kernels * channels + blockIdx.y) * plane;
    FOR_EACH(cell, plane) {
        int row = int(cell / width), column = int(cell % width);
        float sum = 0.0f;
        for (int dy = 0; dy < 3; dy++) {
            Viewers rows = viewers(perception.padding, row, dy, height);
            for (int dx = 0; dx < 3; dx++) {
                Viewers columns = viewers(perception.padding, column, dx, width);
                for (int i = 0; i < 4; i++) {
                    int y = i & 2 ? rows.second : rows.first, at = i & 1 ? columns.second : columns.first;
                    if (y < 0 || at < 0) continue;
                    const float *g = g_z + size_t(y) * width + at;
                    for (int k = 0; k < perception.kernels; k++) {
                        sum += perception.weights[k][3 * dy + dx] * g[size_t(k) * channels * plane];
                    }
                }
            }
        }
        g_x[cell] = sum;
    }
}
