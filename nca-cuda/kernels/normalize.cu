// In doubles: the square of a large float is none. There are few elements, and the sum is most of the work.

// partial[block] = Σ g² over the block's share.
KERNEL(sum_of_squares, THREADS, (const float *g, size_t len, double *partial)) {
    double sum = 0.0;
    FOR_EACH(i, len) sum += double(g[i]) * double(g[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// norm = √Σ partial; out[slot] += norm; g /= norm + epsilon. Each block adds the partial sums anew, in
// the same order.
KERNEL(normalize, THREADS, (const double *partial, unsigned count, double epsilon, float *g, size_t len, float *out,
                            size_t slot)) {
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) sum += partial[i];
    double norm = sqrt(block_sum(sum));
    if (blockIdx.x == 0 && threadIdx.x == 0) out[slot] += float(norm);
    FOR_EACH(i, len) g[i] = float(g[i] / (norm + epsilon));
}
