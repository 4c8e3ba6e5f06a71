// y += alpha · x.
KERNEL(axpy, THREADS, (float alpha, const float *x, float *y, size_t len)) {
    FOR_EACH(i, len) y[i] += alpha * x[i];
}
