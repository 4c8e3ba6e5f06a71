// partial[block] = Σ g² over the block's share.
KERNEL(sum_of_squares, THREADS, (const float *g, size_t len, float *partial)) {
    float sum = 0.0f;
    FOR_EACH(i, len) sum += g[i] * g[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// norm = √Σ partial; out[slot] += norm; g /= norm + epsilon. Each block adds the partial sums anew, in
// the same order.
KERNEL(normalize, THREADS, (const float *partial, unsigned count, float epsilon, float *g, size_t len, float *out,
                            size_t slot)) {
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) sum += partial[i];
    float norm = sqrtf(block_sum(sum));
    if (blockIdx.x == 0 && threadIdx.x == 0) out[slot] += norm;
    FOR_EACH(i, len) g[i] /= norm + epsilon;
}
