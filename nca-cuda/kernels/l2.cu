// partial[block] = Σ (a[s, i] − b[i])² over the block's share of a [S,N]; b [N].
KERNEL(l2, THREADS, (const float *a, const float *b, size_t len, size_t period, float *partial)) {
    float sum = 0.0f;
    FOR_EACH(i, len) {
        float d = a[i] - b[i % period];
        sum += d * d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// g_a[s, i] = 2 · weight · (a[s, i] − b[i]).
KERNEL(l2_backward, THREADS, (float weight, const float *a, const float *b, float *g_a, size_t len, size_t period)) {
    FOR_EACH(i, len) g_a[i] = 2.0f * weight * (a[i] - b[i % period]);
}
