// Warping an image back along a flow: y[b,c](p) = x[b,c](clamp(p + flow[b](p))), bilinear. x, y [B,C,H,W],
// flow [B,2,H,W].

// Where a displaced position lies on a line of pixels.
struct Tap {
    int low, high;
    // Weight of `high`.
    float fraction;
    // Strictly inside the line: the position moves with the displacement.
    bool free;
};

__device__ __forceinline__ Tap tap_of(int at, float displacement, int len) {
    float position = float(at) + displacement, last = float(len - 1);
    // NaN goes to the border.
    float clamped = fminf(fmaxf(position, 0.0f), last);
    int low = int(clamped);
    return {low, min(low + 1, len - 1), clamped - float(low), position > 0.0f && position < last};
}

// (1 − fraction) · low + fraction · high
__device__ __forceinline__ float mix(const Tap &tap, float low, float high) {
    return (1.0f - tap.fraction) * low + tap.fraction * high;
}

// The taps of pixel p of a sample.
struct Taps {
    Tap row, column;
};

__device__ __forceinline__ Taps taps_of(const float *flow, int p, int height, int width) {
    size_t plane = size_t(height) * width;
    return {tap_of(p / width, flow[plane + p], height), tap_of(p % width, flow[p], width)};
}

KERNEL(warp, THREADS, (const float *x, const float *flow, float *y, size_t batch, unsigned channels, int height,
                       int width)) {
    size_t plane = size_t(height) * width;
    FOR_PLANES(b, batch) {
        FOR_EACH(p, plane) {
            Taps taps = taps_of(flow + b * 2 * plane, int(p), height, width);
            size_t top = size_t(taps.row.low) * width, bottom = size_t(taps.row.high) * width;
            for (unsigned c = 0; c < channels; c++) {
                size_t start = (b * channels + c) * plane;
                const float *from = x + start;
                float above = mix(taps.column, from[top + taps.column.low], from[top + taps.column.high]);
                float below = mix(taps.column, from[bottom + taps.column.low], from[bottom + taps.column.high]);
                y[start + p] = mix(taps.row, above, below);
            }
        }
    }
}

// g_flow: how y changes with the positions, 0 for those that the border holds.
KERNEL(warp_flow_backward, THREADS, (const float *x, const float *flow, const float *g_y, float *g_flow, size_t batch,
                                     unsigned channels, int height, int width)) {
    size_t plane = size_t(height) * width;
    FOR_PLANES(b, batch) {
        FOR_EACH(p, plane) {
            Taps taps = taps_of(flow + b * 2 * plane, int(p), height, width);
            size_t top = size_t(taps.row.low) * width, bottom = size_t(taps.row.high) * width;
            float g_u = 0.0f, g_v = 0.0f;
            for (unsigned c = 0; c < channels; c++) {
                size_t start = (b * channels + c) * plane;
                const float *from = x + start;
                float g = g_y[start + p];
                float top_left = from[top + taps.column.low], top_right = from[top + taps.column.high];
                float bottom_left = from[bottom + taps.column.low], bottom_right = from[bottom + taps.column.high];
                g_u += g * mix(taps.row, top_right - top_left, bottom_right - bottom_left);
                g_v += g * mix(taps.column, bottom_left - top_left, bottom_right - top_right);
            }
            g_flow[b * 2 * plane + p] = taps.column.free ? g_u : 0.0f;
            g_flow[(b * 2 + 1) * plane + p] = taps.row.free ? g_v : 0.0f;
        }
    }
}

// The gradient of the image is a scatter: every pixel p adds to the four corners of the cell it came from. Sorted by
// cell and then by p, it becomes a sum of fixed order for each pixel of the image.

// An item of `sort_rows.cu`: the cell's upper left corner above, p below.
typedef unsigned long long Item;

KERNEL(warp_cells, THREADS, (const float *flow, Item *items, size_t batch, int height, int width)) {
    size_t plane = size_t(height) * width;
    FOR_PLANES(b, batch) {
        FOR_EACH(p, plane) {
            Taps taps = taps_of(flow + b * 2 * plane, int(p), height, width);
            items[b * plane + p] = Item(taps.row.low * width + taps.column.low) << 32 | p;
        }
    }
}

// starts[b] [P + 1]: the number of items of cells before each cell.
KERNEL(warp_starts, THREADS, (const Item *items, unsigned *starts, size_t batch, unsigned plane)) {
    FOR_PLANES(b, batch) {
        FOR_EACH(cell, plane + 1) {
            unsigned low = 0, high = plane;
            while (low < high) {
                unsigned middle = (low + high) / 2;
                if (items[b * plane + middle] >> 32 < cell) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            starts[b * (plane + 1) + cell] = low;
        }
    }
}

// Channels summed in one go through the items.
constexpr unsigned TOGETHER = 4;

KERNEL(warp_image_backward, THREADS, (const float *flow, const Item *items, const unsigned *starts, const float *g_y,
                                      float *g_x, size_t batch, unsigned channels, int height, int width)) {
    size_t plane = size_t(height) * width;
    FOR_PLANES(b, batch) {
        const Item *own_items = items + b * plane;
        const unsigned *own_starts = starts + b * (plane + 1);
        const float *own_flow = flow + b * 2 * plane;
        FOR_EACH(p, plane) {
            int row = int(p) / width, column = int(p) % width;
            for (unsigned first = 0; first < channels; first += TOGETHER) {
                unsigned count = min(channels - first, TOGETHER);
                const float *g = g_y + (b * channels + first) * plane;
                float sum[TOGETHER] = {};
                // The cells of which this pixel is the lower right, lower left, upper right, upper left corner.
#pragma unroll 1
                for (int corner = 0; corner < 4; corner++) {
                    int lower = corner < 2, right = corner % 2 == 0;
                    if (row < lower || column < right) continue;
                    const unsigned *range = own_starts + size_t(row - lower) * width + column - right;
                    unsigned end = range[1];
#pragma unroll 1
                    for (unsigned i = range[0]; i < end; i++) {
                        unsigned from = unsigned(own_items[i]);
                        Taps taps = taps_of(own_flow, int(from), height, width);
                        float weight = (lower ? taps.row.fraction : 1.0f - taps.row.fraction) *
                                       (right ? taps.column.fraction : 1.0f - taps.column.fraction);
#pragma unroll
                        for (unsigned c = 0; c < TOGETHER; c++) {
                            if (c < count) sum[c] += weight * g[c * plane + from];
                        }
                    }
                }
                float *to = g_x + (b * channels + first) * plane + p;
#pragma unroll
                for (unsigned c = 0; c < TOGETHER; c++) {
                    if (c < count) to[c * plane] = sum[c];
                }
            }
        }
    }
}
