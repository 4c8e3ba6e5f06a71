// y = means of the 2×2 blocks of x: x [N,H,W] → y [N,H/2,W/2].
KERNEL(avg_pool2, THREADS, (const float *x, float *y, size_t planes, unsigned height, unsigned width)) {
    unsigned rows = height / 2, columns = width / 2, len = rows * columns;
    FOR_PLANES(plane, planes) {
        FOR_EACH(i, len) {
            unsigned row = unsigned(i) / columns, column = unsigned(i) % columns;
            const float *top = x + (plane * height + 2 * row) * width + 2 * column, *bottom = top + width;
            y[plane * len + i] = 0.25f * ((top[0] + top[1]) + (bottom[0] + bottom[1]));
        }
    }
}

// g_x = g_y / 4 in each block, 0 in a last odd row or column.
KERNEL(avg_pool2_backward, THREADS, (const float *g_y, float *g_x, size_t planes, unsigned height, unsigned width)) {
    unsigned rows = height / 2, columns = width / 2, len = height * width;
    FOR_PLANES(plane, planes) {
        FOR_EACH(i, len) {
            unsigned row = unsigned(i) / width / 2, column = unsigned(i) % width / 2;
            bool pooled = row < rows && column < columns;
            g_x[plane * len + i] = pooled ? 0.25f * g_y[(plane * rows + row) * columns + column] : 0.0f;
        }
    }
}
