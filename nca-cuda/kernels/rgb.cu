// The picture of a state: the first three of the channels of x [B,C,P] as rgb [B,3,P]. One block row for
// each sample; `colour` is 3·P.

// rgb = scale · x + offset.
KERNEL(rgb_affine, THREADS, (float scale, float offset, const float *x, float *rgb, size_t sample, size_t colour)) {
    FOR_EACH(i, colour) rgb[blockIdx.y * colour + i] = scale * x[blockIdx.y * sample + i] + offset;
}

// g_x = scale · g_rgb, 0 beyond the third channel.
KERNEL(rgb_affine_backward, THREADS, (float scale, const float *g_rgb, float *g_x, size_t sample, size_t colour)) {
    FOR_EACH(i, sample) g_x[blockIdx.y * sample + i] = i < colour ? scale * g_rgb[blockIdx.y * colour + i] : 0.0f;
}

// Smallest and largest element of the three channels of a sample; NaNs do not count.
struct Extremes {
    float min, max;
};

// What the min–max map's backward needs of a whole sample.
struct Sums {
    // How many elements equal the minimum and the maximum.
    float at_min, at_max;
    // Σ g·(1 − y) and Σ g·y.
    float rest, picture;
};

#define MIN_MAX_EPSILON 1e-8f

__device__ __forceinline__ float range_of(const Extremes &e) { return e.max - e.min + MIN_MAX_EPSILON; }

// extremes[b] of each sample, one block for each.
KERNEL(rgb_extremes, THREADS, (const float *x, Extremes *extremes, size_t sample, size_t colour)) {
    __shared__ float low[THREADS], high[THREADS];
    float lowest = POSITIVE_INFINITY, highest = -POSITIVE_INFINITY;
    for (size_t i = threadIdx.x; i < colour; i += THREADS) {
        float v = x[blockIdx.x * sample + i];
        lowest = fminf(lowest, v);
        highest = fmaxf(highest, v);
    }
    low[threadIdx.x] = lowest;
    high[threadIdx.x] = highest;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            low[threadIdx.x] = fminf(low[threadIdx.x], low[threadIdx.x + half]);
            high[threadIdx.x] = fmaxf(high[threadIdx.x], high[threadIdx.x + half]);
        }
    }
    if (threadIdx.x == 0) extremes[blockIdx.x] = {low[0], high[0]};
}

// rgb = (x − min) / (max − min + ε).
KERNEL(rgb_min_max, THREADS, (const Extremes *extremes, const float *x, float *rgb, size_t sample, size_t colour)) {
    Extremes e = extremes[blockIdx.y];
    FOR_EACH(i, colour) rgb[blockIdx.y * colour + i] = (x[blockIdx.y * sample + i] - e.min) / range_of(e);
}

// sums[b] of each sample, one block for each.
KERNEL(rgb_sums, THREADS, (const Extremes *extremes, const float *x, const float *g_rgb, Sums *sums, size_t sample,
                           size_t colour)) {
    Extremes e = extremes[blockIdx.x];
    Sums sum = {0.0f, 0.0f, 0.0f, 0.0f};
    for (size_t i = threadIdx.x; i < colour; i += THREADS) {
        float v = x[blockIdx.x * sample + i], g = g_rgb[blockIdx.x * colour + i];
        float y = (v - e.min) / range_of(e);
        sum.at_min += v == e.min ? 1.0f : 0.0f;
        sum.at_max += v == e.max ? 1.0f : 0.0f;
        sum.rest += g * (1.0f - y);
        sum.picture += g * y;
    }
    sum.at_min = block_sum(sum.at_min);
    sum.at_max = block_sum(sum.at_max);
    sum.rest = block_sum(sum.rest);
    sum.picture = block_sum(sum.picture);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// y = (x − min)/R: besides g/R, the minimum receives −Σ g(1 − y)/R and the maximum −Σ g·y/R, shared among the
// elements that tie; 0 beyond the third channel.
KERNEL(rgb_min_max_backward, THREADS, (const Extremes *extremes, const Sums *sums, const float *x, const float *g_rgb,
                                       float *g_x, size_t sample, size_t colour)) {
    Extremes e = extremes[blockIdx.y];
    Sums sum = sums[blockIdx.y];
    float range = range_of(e);
    float g_min = -sum.rest / range / sum.at_min, g_max = -sum.picture / range / sum.at_max;
    FOR_EACH(i, sample) {
        float g = 0.0f;
        if (i < colour) {
            float v = x[blockIdx.y * sample + i];
            g = g_rgb[blockIdx.y * colour + i] / range;
            if (v == e.min) g += g_min;
            if (v == e.max) g += g_max;
        }
        g_x[blockIdx.y * sample + i] = g;
    }
}
