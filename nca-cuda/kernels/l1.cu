// partial[block] = Σ |a[s, i] − b[i]| over the block's share of a [S,N]; b [N].
KERNEL(l1, THREADS, (const float *a, const float *b, size_t len, size_t period, float *partial)) {
    float sum = 0.0f;
    FOR_EACH(i, len) sum += fabsf(a[i] - b[i % period]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// g_a[s, i] = weight · sign(a[s, i] − b[i]).
KERNEL(l1_backward, THREADS, (float weight, const float *a, const float *b, float *g_a, size_t len, size_t period)) {
    FOR_EACH(i, len) g_a[i] = weight * sign_of(a[i] - b[i % period]);
}
