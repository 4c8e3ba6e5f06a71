// Bilinear interpolation along rows and columns, for resizing and upsampling.

// How the outputs of a line lie among its inputs: output i is at position/den, position = step·i + start, but within
// 0 … den·(inputs − 1). Whole numbers, so that positions are exact for any size.
struct Line {
    long long step, start, den;
    int inputs, outputs;
};

__device__ __forceinline__ long long position_of(const Line &line, long long i) {
    return min(max(line.step * i + line.start, 0ll), line.den * (line.inputs - 1));
}

// The two inputs that an output lies between, and the weight of the second.
struct Taps {
    int low, high;
    float fraction;
};

__device__ __forceinline__ Taps taps_of(const Line &line, int i) {
    long long position = position_of(line, i);
    int low = int(position / line.den);
    return {low, min(low + 1, line.inputs - 1), float(position - low * line.den) / float(line.den)};
}

// y [N,H',W'] = factor · interpolation of x [N,H,W].
KERNEL(resize, THREADS, (Line rows, Line columns, float factor, const float *x, float *y, size_t planes)) {
    int width = columns.outputs;
    size_t len = size_t(rows.outputs) * width;
    FOR_EACH(i, len) {
        Taps row = taps_of(rows, int(i) / width), column = taps_of(columns, int(i) % width);
        FOR_PLANES(plane, planes) {
            const float *top = x + (plane * rows.inputs + row.low) * columns.inputs;
            const float *bottom = x + (plane * rows.inputs + row.high) * columns.inputs;
            float above = (1.0f - column.fraction) * top[column.low] + column.fraction * top[column.high];
            float below = (1.0f - column.fraction) * bottom[column.low] + column.fraction * bottom[column.high];
            y[plane * len + i] = factor * ((1.0f - row.fraction) * above + row.fraction * below);
        }
    }
}

// The outputs that input p goes into: first … last.
struct Reach {
    int first, last;
};

__device__ __forceinline__ Reach reach_of(const Line &line, int p) {
    // Those with a position between that of input p − 1 and that of input p + 1.
    Reach reach = {0, line.outputs - 1};
    if (p > 0) {
        long long below = line.den * (p - 1) - line.start;
        reach.first = below < 0 ? 0 : int(min(below / line.step + 1, (long long)line.outputs));
    }
    if (p < line.inputs - 1) {
        long long above = line.den * (p + 1) - line.start;
        reach.last = above <= 0 ? -1 : int(min((above - 1) / line.step, line.outputs - 1ll));
    }
    return reach;
}

// How much of input p is in output i, times den: at most den.
__device__ __forceinline__ long long share_of(const Line &line, int p, int i) {
    long long distance = position_of(line, i) - line.den * p;
    return line.den - (distance < 0 ? -distance : distance);
}

// Adjoint: g_x [N,H,W] of g_y [N,H',W']; each input collects from the outputs it went into, in their order.
KERNEL(resize_backward, THREADS, (Line rows, Line columns, float factor, const float *g_y, float *g_x, size_t planes)) {
    int width = columns.inputs;
    size_t len = size_t(rows.inputs) * width;
    float row_unit = 1.0f / float(rows.den), column_unit = 1.0f / float(columns.den);
    FOR_EACH(at, len) {
        int p = int(at) / width, q = int(at) % width;
        Reach down = reach_of(rows, p), across = reach_of(columns, q);
        FOR_PLANES(plane, planes) {
            float sum = 0.0f;
            for (int i = down.first; i <= down.last; i++) {
                const float *g_row = g_y + (plane * rows.outputs + i) * columns.outputs;
                float part = 0.0f;
                for (int j = across.first; j <= across.last; j++) {
                    part += float(share_of(columns, q, j)) * column_unit * g_row[j];
                }
                sum += float(share_of(rows, p, i)) * row_unit * part;
            }
            g_x[plane * len + at] = factor * sum;
        }
    }
}
