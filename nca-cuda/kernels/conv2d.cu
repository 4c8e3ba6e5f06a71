// Convolution as a product of matrices: the weights times the patches of the image, whose elements are read where the
// product needs them. The gradient of the input is the same with mirrored weights.

// y [B,M,H',W'] = correlation of x [B,C,H,W] with filters of side k, whose first row and column lie at `origin`
// (−padding) for the first output.
struct Correlation {
    const float *x;
    // [K,M] with rows of `stride` elements, zeros beyond; K = C·k·k.
    const float *weight;
    // For each of the K terms where it lies relative to the output.
    const int2 *taps;
    // Per channel of y, or null.
    const float *bias;
    float *y;
    int height, width, out_height, out_width, origin;
    int channels, outputs, stride;
    // Pixels of all samples: B·H'·W'.
    int pixels;
    // Terms of a slice; elements of y, of which each slice has its own.
    int span, end;
    size_t slice;
};

// A tap of a term that does not exist: no row is that far.
#define NO_TAP int(0x80000000u)

// Rows above, columns below.
__device__ __forceinline__ int packed_tap(int down, int across) { return down << 16 | across; }
__device__ __forceinline__ int tap_down(int tap) { return tap >> 16; }
__device__ __forceinline__ int tap_across(int tap) { return tap & 0xffff; }

// The weights [O,I,k,k] as the product wants them, padded to `depth` × `stride`, and the taps of its terms in an image
// of `plane` pixels with rows of `width`. `mirrored`: for the gradient of the input, from O channels to I.
KERNEL(conv2d_pack, THREADS, (const float *weight, float *packed, int2 *taps, int inputs, int outputs, int side,
                              int mirrored, int stride, int depth, int plane, int width)) {
    int area = side * side, channels = mirrored ? outputs : inputs, rows = mirrored ? inputs : outputs;
    FOR_EACH(i, size_t(depth) * stride) {
        int k = int(i / stride), row = int(i % stride), channel = k / area, r = k % area;
        bool inside = channel < channels;
        if (row == 0) {
            taps[k] = inside ? make_int2(channel * plane + r / side * width + r % side,
                                         packed_tap(r / side, r % side))
                             : make_int2(0, NO_TAP);
        }
        size_t at = mirrored ? (size_t(channel) * inputs + row) * area + area - 1 - r
                             : (size_t(row) * inputs + channel) * area + r;
        packed[i] = inside && row < rows ? weight[at] : 0.0f;
    }
}

// The left operand: packed weights.
template <int HEIGHT, int DEPTH> struct Filters {
    static constexpr int QUADS = HEIGHT / 4, EACH = (QUADS * DEPTH + THREADS - 1) / THREADS;
    static_assert(THREADS % QUADS == 0, "a thread's quads are in one column");
    const float *weight;
    int stride;
    float4 held[EACH];

    // From a thread's term to its next.
    static constexpr int STRIDE = THREADS / QUADS;
    __device__ __forceinline__ void load(int k0) {
        int k = int(threadIdx.x) / QUADS, quad = int(threadIdx.x) % QUADS;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            if (k + j * STRIDE >= DEPTH) break;
            held[j] = *reinterpret_cast<const float4 *>(weight + size_t(k0 + k + j * STRIDE) * stride + quad * 4);
        }
    }
    template <typename To> __device__ __forceinline__ void store(To &to) {
        int k = int(threadIdx.x) / QUADS;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            if (k + j * STRIDE < DEPTH) to[k + j * STRIDE][int(threadIdx.x) % QUADS] = held[j];
        }
    }
};

// The right operand: patches around WIDTH pixels. A thread reads of one pixel's patch.
template <int WIDTH, int DEPTH> struct Patches {
    static constexpr int EACH = WIDTH * DEPTH / THREADS;
    // Of the pixel's sample, at the patch's corner.
    const float *corner;
    const int2 *taps;
    int top, left, height, width;
    float held[EACH];

    __device__ __forceinline__ Patches(const Correlation &c, int pixel0) {
        int pixel = pixel0 + int(threadIdx.x) % WIDTH, plane = c.out_height * c.out_width;
        int b = pixel / plane, p = pixel % plane;
        taps = c.taps + int(threadIdx.x) / WIDTH * EACH;
        height = c.height, width = c.width;
        // No tap reaches an image from half the range of integers above.
        top = pixel < c.pixels ? p / c.out_width + c.origin : -(1 << 30);
        left = p % c.out_width + c.origin;
        corner = c.x + ((long long)b * c.channels * height + top) * width + left;
    }
    __device__ __forceinline__ void load(int k0) {
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int2 tap = __ldg(taps + k0 + j);
            bool inside = unsigned(top + tap_down(tap.y)) < unsigned(height) &&
                          unsigned(left + tap_across(tap.y)) < unsigned(width);
            held[j] = inside ? corner[tap.x] : 0.0f;
        }
    }
    template <typename To> __device__ __forceinline__ void store(To &to) {
        int k = int(threadIdx.x) / WIDTH * EACH, column = int(threadIdx.x) % WIDTH;
#pragma unroll
        for (int j = 0; j < EACH; j++) element(to[k + j], column) = held[j];
    }
};

// Blocks: tiles of pixels, tiles of channels, slices.
template <typename T> __device__ __forceinline__ void correlate(const Correlation &c) {
    int pixel0 = blockIdx.x * T::WIDTH, row0 = blockIdx.y * T::HEIGHT, first = blockIdx.z * c.span;
    Filters<T::HEIGHT, T::DEPTH> filters;
    filters.weight = c.weight + row0;
    filters.stride = c.stride;
    Patches<T::WIDTH, T::DEPTH> patches(c, pixel0);
    T tile;
    multiply(tile, filters, patches, first, min(first + c.span, c.end));
    int plane = c.out_height * c.out_width;
    float *y = c.y + blockIdx.z * c.slice;
#pragma unroll
    for (int j = 0; j < T::TN; j += T::GROUP) {
        int pixel = pixel0 + T::column(j);
        if (pixel >= c.pixels) continue;
        if (plane % T::GROUP == 0) {
            // The pixels are of one sample, and lie at a multiple of all their bytes.
            size_t start = size_t(pixel / plane) * c.outputs * plane + pixel % plane;
#pragma unroll
            for (int i = 0; i < T::TM; i++) {
                int row = row0 + T::row(i);
                if (row >= c.outputs) continue;
                float bias = c.bias ? c.bias[row] : 0.0f;
                const float *sum = tile.sum[i] + j;
                float *to = y + start + size_t(row) * plane;
                if constexpr (T::GROUP == 4) {
                    *reinterpret_cast<float4 *>(to) =
                        make_float4(sum[0] + bias, sum[1] + bias, sum[2] + bias, sum[3] + bias);
                } else {
                    *reinterpret_cast<float2 *>(to) = make_float2(sum[0] + bias, sum[1] + bias);
                }
            }
            continue;
        }
#pragma unroll
        for (int next = 0; next < T::GROUP; next++) {
            if (pixel + next >= c.pixels) continue;
            size_t start = size_t((pixel + next) / plane) * c.outputs * plane + (pixel + next) % plane;
#pragma unroll
            for (int i = 0; i < T::TM; i++) {
                int row = row0 + T::row(i);
                if (row >= c.outputs) continue;
                y[start + size_t(row) * plane] = tile.sum[i][j + next] + (c.bias ? c.bias[row] : 0.0f);
            }
        }
    }
}

// The fewer channels, the flatter the tile.
KERNEL(conv2d_128, IN_PAIRS, (Correlation c)) { correlate<ProductTile<128, 128, 8, 8>>(c); }
KERNEL(conv2d_64, THREADS, (Correlation c)) { correlate<ProductTile<64, 128, 8, 4>>(c); }
KERNEL(conv2d_32, THREADS, (Correlation c)) { correlate<ProductTile<32, 256, 8, 4>>(c); }
KERNEL(conv2d_16, IN_PAIRS, (Correlation c)) { correlate<ProductTile<16, 256, 4, 4>>(c); }

// On tensor cores.
#define CORRELATION_KERNELS(suffix, format)                                                                           \
    KERNEL(conv2d_128##suffix, IN_PAIRS, (Correlation c)) { correlate<TensorTile<format, 128, 128, 32, 64>>(c); }     \
    KERNEL(conv2d_64##suffix, THREADS, (Correlation c)) { correlate<TensorTile<format, 64, 128, 32, 32>>(c); }        \
    KERNEL(conv2d_32##suffix, IN_PAIRS, (Correlation c)) { correlate<TensorTile<format, 32, 256, 32, 32>>(c); }       \
    KERNEL(conv2d_16##suffix, THREADS, (Correlation c)) { correlate<TensorTile<format, 16, 256, 16, 32>>(c); }
CORRELATION_KERNELS(_tf32, Tf32)
CORRELATION_KERNELS(_f16, F16)
CORRELATION_KERNELS(_bf16, Bf16)

// y [N,M,P] = Σ over slices of partial[slice], in their order, + bias[m] (or null).
KERNEL(conv2d_add_slices, THREADS, (const float *partial, const float *bias, float *y, size_t planes, int outputs,
                                    unsigned plane, int slices)) {
    size_t len = planes * plane;
    FOR_PLANES(row, planes) {
        float start = bias ? bias[row % outputs] : 0.0f;
        FOR_EACH(i, plane) {
            float sum = 0.0f;
            for (int s = 0; s < slices; s++) sum += partial[s * len + row * plane + i];
            y[row * plane + i] = start + sum;
        }
    }
}

// partial[slice] [O,I·k·k] = Σ over the slice's pixels of g_y [B,O,H',W'] · x [B,I,H,W] under the filter: the gradient
// of the weights.
struct WeightGradient {
    const float *x, *g_y;
    float *partial;
    int height, width, out_height, out_width, padding;
    int inputs, outputs, side;
    // Columns of the product: I·k·k.
    int columns;
    // Pixels of all samples, those of a slice.
    int pixels, span;
};

// The pixel that a thread reads next, of every DEPTH-th: the lanes of a warp read neighbouring ones.
template <int DEPTH> struct Pixel {
    int b, row, column;

    __device__ __forceinline__ Pixel(const WeightGradient &g, int first) {
        int pixel = first + int(threadIdx.x) % DEPTH, plane = g.out_height * g.out_width;
        b = pixel / plane;
        row = pixel % plane / g.out_width;
        column = pixel % plane % g.out_width;
    }
    __device__ __forceinline__ void advance(int out_height, int out_width) {
        column += DEPTH;
        while (column >= out_width) {
            column -= out_width;
            if (++row == out_height) row = 0, b++;
        }
    }
};

// The left operand: g_y of HEIGHT channels.
template <int HEIGHT, int DEPTH> struct OutputGradients {
    static constexpr int STRIDE = THREADS / DEPTH, EACH = (HEIGHT + STRIDE - 1) / STRIDE;
    const WeightGradient &g;
    const Pixel<DEPTH> &pixel;
    int row0;
    float held[EACH];

    __device__ __forceinline__ OutputGradients(const WeightGradient &g, const Pixel<DEPTH> &pixel, int row0)
        : g(g), pixel(pixel), row0(row0) {}
    __device__ __forceinline__ void load(int k0) {
        bool inside = k0 + int(threadIdx.x) % DEPTH < g.pixels;
        int row = row0 + int(threadIdx.x) / DEPTH, plane = g.out_height * g.out_width;
        size_t at = (size_t(pixel.b) * g.outputs + row) * plane + pixel.row * g.out_width + pixel.column;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            held[j] = inside && row + j * STRIDE < g.outputs ? g.g_y[at + size_t(j) * STRIDE * plane] : 0.0f;
        }
    }
    template <typename To> __device__ __forceinline__ void store(To &to) {
        int row = int(threadIdx.x) / DEPTH;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            if (row + j * STRIDE < HEIGHT) element(to[int(threadIdx.x) % DEPTH], row + j * STRIDE) = held[j];
        }
    }
};

// The right operand: what WIDTH elements of the filters see. The left one is loaded before it, from the same pixels.
template <int WIDTH, int DEPTH> struct Views {
    static constexpr int STRIDE = THREADS / DEPTH, EACH = WIDTH / STRIDE;
    const WeightGradient &g;
    Pixel<DEPTH> &pixel;
    int2 taps[EACH];
    float held[EACH];

    __device__ __forceinline__ Views(const WeightGradient &g, Pixel<DEPTH> &pixel, int column0) : g(g), pixel(pixel) {
        int area = g.side * g.side;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int column = column0 + int(threadIdx.x) / DEPTH + j * STRIDE, r = column % area;
            taps[j] = column < g.columns
                          ? make_int2(column / area * g.height * g.width + r / g.side * g.width + r % g.side,
                                      packed_tap(r / g.side, r % g.side))
                          : make_int2(0, NO_TAP);
        }
    }
    __device__ __forceinline__ void load(int k0) {
        int top = k0 + int(threadIdx.x) % DEPTH < g.pixels ? pixel.row - g.padding : -(1 << 30);
        int left = pixel.column - g.padding;
        const float *corner = g.x + ((long long)pixel.b * g.inputs * g.height + top) * g.width + left;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            bool inside = unsigned(top + tap_down(taps[j].y)) < unsigned(g.height) &&
                          unsigned(left + tap_across(taps[j].y)) < unsigned(g.width);
            held[j] = inside ? corner[taps[j].x] : 0.0f;
        }
        pixel.advance(g.out_height, g.out_width);
    }
    template <typename To> __device__ __forceinline__ void store(To &to) {
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            element(to[int(threadIdx.x) % DEPTH], int(threadIdx.x) / DEPTH + j * STRIDE) = held[j];
        }
    }
};

// Blocks: tiles of filter elements, tiles of channels, slices.
template <typename T> __device__ __forceinline__ void weight_gradient(const WeightGradient &g) {
    int column0 = blockIdx.x * T::WIDTH, row0 = blockIdx.y * T::HEIGHT, first = blockIdx.z * g.span;
    Pixel<T::DEPTH> pixel(g, first);
    OutputGradients<T::HEIGHT, T::DEPTH> left(g, pixel, row0);
    Views<T::WIDTH, T::DEPTH> right(g, pixel, column0);
    T tile;
    multiply(tile, left, right, first, min(first + g.span, g.pixels));
    float *partial = g.partial + size_t(blockIdx.z) * g.outputs * g.columns;
#pragma unroll
    for (int i = 0; i < T::TM; i++) {
        int row = row0 + T::row(i);
        if (row >= g.outputs) continue;
#pragma unroll
        for (int j = 0; j < T::TN; j++) {
            int column = column0 + T::column(j);
            if (column < g.columns) partial[size_t(row) * g.columns + column] = tile.sum[i][j];
        }
    }
}

KERNEL(conv2d_weight_128, IN_PAIRS, (WeightGradient g)) { weight_gradient<ProductTile<128, 128, 8, 8>>(g); }
KERNEL(conv2d_weight_64, THREADS, (WeightGradient g)) { weight_gradient<ProductTile<64, 128, 8, 4>>(g); }
KERNEL(conv2d_weight_32, THREADS, (WeightGradient g)) { weight_gradient<ProductTile<32, 256, 8, 4>>(g); }
KERNEL(conv2d_weight_16, THREADS, (WeightGradient g)) { weight_gradient<ProductTile<16, 256, 4, 4>>(g); }

// On tensor cores. Gradients are too small for f16; the many terms that bf16 multiplies at a time take more registers than
// two blocks have.
#define WEIGHT_GRADIENT_KERNELS(suffix, format)                                                                       \
    KERNEL(conv2d_weight_64##suffix, THREADS, (WeightGradient g)) {                                                   \
        weight_gradient<TensorTile<format, 64, 128, 32, 32>>(g);                                                      \
    }                                                                                                                 \
    KERNEL(conv2d_weight_32##suffix, THREADS, (WeightGradient g)) {                                                   \
        weight_gradient<TensorTile<format, 32, 256, 32, 32>>(g);                                                      \
    }                                                                                                                 \
    KERNEL(conv2d_weight_16##suffix, THREADS, (WeightGradient g)) {                                                   \
        weight_gradient<TensorTile<format, 16, 256, 16, 32>>(g);                                                      \
    }
KERNEL(conv2d_weight_128_tf32, IN_PAIRS, (WeightGradient g)) {
    weight_gradient<TensorTile<Tf32, 128, 128, 32, 64>>(g);
}
WEIGHT_GRADIENT_KERNELS(_tf32, Tf32)
KERNEL(conv2d_weight_128_bf16, THREADS, (WeightGradient g)) {
    weight_gradient<TensorTile<Bf16, 128, 128, 32, 64>>(g);
}
WEIGHT_GRADIENT_KERNELS(_bf16, Bf16)
