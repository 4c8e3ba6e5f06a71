// Sets every element.
KERNEL(fill, THREADS, (float value, float *dst, size_t len)) {
    FOR_EACH(i, len) dst[i] = value;
}
