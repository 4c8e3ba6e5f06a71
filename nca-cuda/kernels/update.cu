// x_next = clamp(x + mask · dx), all [B,C,P]; a negative clamp is none. One block row for each sample.
KERNEL(update, THREADS, (MaskKey key, float clamp, const float *x, const float *dx, float *x_next, int channels,
                         size_t plane)) {
    size_t start = size_t(blockIdx.y) * channels * plane;
    FOR_EACH(cell, plane) {
        bool active = is_active(key, blockIdx.y, unsigned(cell));
        for (int c = 0; c < channels; c++) {
            size_t at = start + c * plane + cell;
            x_next[at] = clamped_if(active ? x[at] + dx[at] : x[at], clamp);
        }
    }
}

// g_next -> g_x, g_dx: stopped by the clamp outside its bounds, and for g_dx by the mask. The same grid.
KERNEL(update_backward, THREADS, (MaskKey key, float clamp, const float *x, const float *dx, const float *g_next,
                                  float *g_x, float *g_dx, int channels, size_t plane)) {
    size_t start = size_t(blockIdx.y) * channels * plane;
    FOR_EACH(cell, plane) {
        bool active = is_active(key, blockIdx.y, unsigned(cell));
        for (int c = 0; c < channels; c++) {
            size_t at = start + c * plane + cell;
            float v = active ? x[at] + dx[at] : x[at];
            float g = within(v, clamp) ? g_next[at] : 0.0f;
            g_x[at] = g;
            g_dx[at] = active ? g : 0.0f;
        }
    }
}
