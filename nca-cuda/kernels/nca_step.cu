// The step, fused, and the weights in the order in which it and its gradient read them.

// Transposes and pads the weights, so that a thread's rows lie side by side; b2 may be null.
KERNEL(nca_pack, THREADS, (const float *w1, const float *b1, const float *w2, const float *b2, float *packed,
                           int perceived, int hidden, int channels, int hidden_rows, int state_rows)) {
    size_t first = size_t(perceived) * hidden_rows, first_bias = first + hidden_rows;
    size_t second = first_bias + size_t(hidden_rows) * state_rows, all = second + state_rows;
    FOR_EACH(i, all) {
        float v = 0.0f;
        if (i < first) {
            int d = int(i % hidden_rows);
            if (d < hidden) v = w1[size_t(d) * perceived + i / hidden_rows];
        } else if (i < first_bias) {
            int d = int(i - first);
            if (d < hidden) v = b1[d];
        } else if (i < second) {
            int d = int((i - first_bias) / state_rows), c = int((i - first_bias) % state_rows);
            if (d < hidden && c < channels) v = w2[size_t(c) * hidden + d];
        } else {
            int c = int(i - second);
            if (b2 && c < channels) v = b2[c];
        }
        packed[i] = v;
    }
}

// Shared memory: weights [ROWS, hidden_rows + PAD], perception [ROWS, STRIDE] (in f32 also partial sums
// [WARPS·WARP_ROWS, COLUMNS]), h [hidden_rows, STRIDE].
template <typename P, int B> __device__ __forceinline__ void step(const Step &s, float *x_next, float *memory) {
    float *weights = memory, *z = weights + ROWS * (s.hidden_rows + P::PAD);
    float *h = z + (P::TENSOR ? ROWS * P::STRIDE : WARPS * WARP_ROWS * COLUMNS);
    Packed p = packed_of(s);
    size_t plane = size_t(s.height) * s.width;
    size_t sample = blockIdx.x / s.sample_tiles * plane * s.channels;
    const float *x = s.x + sample;
    float *out = x_next + sample;
    Tile tile = list_active(s, blockIdx.x, [&](int cell) {
        for (int c0 = 0; c0 < s.channels; c0 += AT_ONCE) {
            float v[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) v[i] = c0 + i < s.channels ? x[(c0 + i) * plane + cell] : 0.0f;
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (c0 + i < s.channels) out[(c0 + i) * plane + cell] = clamped_if(v[i], s.clamp);
            }
        }
    });
    for (int first = 0; first < tile.count; first += COLUMNS) {
        int at[9];
        look_around(s, tile, first, at);
        hidden_layer<P, B>(s, p, x, at, weights, z, h, P::STRIDE);
        for (int c0 = 0; c0 < s.channels; c0 += WARP_ROWS) {
            auto inside = [&](int c, int column) { return c0 + c < s.channels && first + column < tile.count; };
            auto place = [&](int c, int column) { return (c0 + c) * plane + tile.cells[first + column]; };
            output_rows<P>(
                s, p, c0, h, P::STRIDE, weights, z,
                [&](int c, int column) { return inside(c, column) ? x[place(c, column)] : 0.0f; },
                [&](int c, int column, float dx, float before) {
                    if (inside(c, column)) out[place(c, column)] = clamped_if(before + dx, s.clamp);
                });
        }
    }
}

// One block for each tile; up to 64 hidden neurons, and up to 128.
#define STEP_KERNELS(suffix, products)                                                                                \
    KERNEL(nca_step_64##suffix, IN_FIVES, (Step s, float *x_next)) {                                                  \
        DYNAMIC_SHARED(float, memory);                                                                                \
        step<products, 1>(s, x_next, memory);                                                                         \
    }                                                                                                                 \
    KERNEL(nca_step_128##suffix, STEP_THREADS, (Step s, float *x_next)) {                                             \
        DYNAMIC_SHARED(float, memory);                                                                                \
        step<products, 2>(s, x_next, memory);                                                                         \
    }
STEP_KERNELS(, Exact)
STEP_KERNELS(_tf32, Rounded<Tf32>)
STEP_KERNELS(_f16, Rounded<F16>)
STEP_KERNELS(_bf16, Rounded<Bf16>)
