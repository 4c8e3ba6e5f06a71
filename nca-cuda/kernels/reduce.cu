// The second half of sums over long arrays: an operation writes one partial sum per block, and this
// adds them up in a fixed order.

// out[slot] += weight · Σ partial.
KERNEL(add_partial_sums, THREADS, (const float *partial, unsigned count, float weight, float *out, size_t slot)) {
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[slot] += weight * sum;
}
