__device__ __forceinline__ float smooth_length(float u, float v, float epsilon) {
    return sqrtf(u * u + v * v + epsilon * epsilon);
}

// partial[block] = Σ (√(u² + v² + ε²) − ε) over the block's share of flow [B,2,P].
KERNEL(flow_magnitude, THREADS, (const float *flow, size_t vectors, size_t plane, float epsilon, float *partial)) {
    float sum = 0.0f;
    FOR_EACH(i, vectors) {
        size_t at = i + i / plane * plane;
        sum += smooth_length(flow[at], flow[at + plane], epsilon) - epsilon;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// g_flow = weight · (u, v) / √(u² + v² + ε²).
KERNEL(flow_magnitude_backward, THREADS, (const float *flow, size_t vectors, size_t plane, float epsilon,
                                          float weight, float *g_flow)) {
    FOR_EACH(i, vectors) {
        size_t at = i + i / plane * plane;
        float u = flow[at], v = flow[at + plane];
        float factor = weight / smooth_length(u, v, epsilon);
        g_flow[at] = factor * u;
        g_flow[at + plane] = factor * v;
    }
}
