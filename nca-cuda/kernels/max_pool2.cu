// Whether v takes the place of the maximum found before it: NaN is larger than any number.
__device__ __forceinline__ bool is_larger(float v, float max) { return v > max || (v != v && max == max); }

// y = maxima of the 2×2 blocks of x: x [N,H,W] → y [N,H/2,W/2].
KERNEL(max_pool2, THREADS, (const float *x, float *y, size_t planes, unsigned height, unsigned width)) {
    unsigned rows = height / 2, columns = width / 2, len = rows * columns;
    FOR_PLANES(plane, planes) {
        FOR_EACH(i, len) {
            unsigned row = unsigned(i) / columns, column = unsigned(i) % columns;
            const float *block = x + (plane * height + 2 * row) * width + 2 * column;
            float max = block[0];
            if (is_larger(block[1], max)) max = block[1];
            if (is_larger(block[width], max)) max = block[width];
            if (is_larger(block[width + 1], max)) max = block[width + 1];
            y[plane * len + i] = max;
        }
    }
}

// g_x = g_y at the first maximum of each block, 0 elsewhere. A thread writes a block, and those at the edge the odd
// row or column that belongs to none.
KERNEL(max_pool2_backward, THREADS, (const float *x, const float *g_y, float *g_x, size_t planes, unsigned height,
                                     unsigned width)) {
    unsigned rows = height / 2, columns = width / 2, across = (width + 1) / 2, len = (height + 1) / 2 * across;
    FOR_PLANES(plane, planes) {
        FOR_EACH(i, len) {
            unsigned row = unsigned(i) / across, column = unsigned(i) % across;
            size_t at = (plane * height + 2 * row) * width + 2 * column;
            unsigned first = 4;
            float g = 0.0f;
            if (row < rows && column < columns) {
                const float *block = x + at;
                float max = block[0];
                first = 0;
                if (is_larger(block[1], max)) max = block[1], first = 1;
                if (is_larger(block[width], max)) max = block[width], first = 2;
                if (is_larger(block[width + 1], max)) first = 3;
                g = g_y[(plane * rows + row) * columns + column];
            }
            bool right = 2 * column + 1 < width, below = 2 * row + 1 < height;
            g_x[at] = first == 0 ? g : 0.0f;
            if (right) g_x[at + 1] = first == 1 ? g : 0.0f;
            if (below) g_x[at + width] = first == 2 ? g : 0.0f;
            if (right && below) g_x[at + width + 1] = first == 3 ? g : 0.0f;
        }
    }
}
