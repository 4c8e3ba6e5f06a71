// x = max(x, 0), in place; NaN stays.
KERNEL(relu, THREADS, (float *x, size_t len)) {
    FOR_EACH(i, len) x[i] = rectified(x[i]);
}

// g = 0 wherever y is not positive, in place.
KERNEL(relu_backward, THREADS, (const float *y, float *g, size_t len)) {
    FOR_EACH(i, len) g[i] = y[i] > 0.0f ? g[i] : 0.0f;
}
