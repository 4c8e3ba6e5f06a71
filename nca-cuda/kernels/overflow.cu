// partial[block] = Σ |x − clamp(x, −1, 1)| over the block's share; NaN shows.
KERNEL(overflow, THREADS, (const float *x, size_t len, float *partial)) {
    float sum = 0.0f;
    FOR_EACH(i, len) sum += fabsf(x[i] - clamped(x[i], 1.0f));
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// g_x = weight · sign(x) where |x| > 1, else 0.
KERNEL(overflow_backward, THREADS, (float weight, const float *x, float *g_x, size_t len)) {
    FOR_EACH(i, len) g_x[i] = fabsf(x[i]) <= 1.0f ? 0.0f : weight * sign_of(x[i]);
}
