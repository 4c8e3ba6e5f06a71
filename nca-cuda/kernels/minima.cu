// Smallest elements of the rows and columns of x [S,M,N], and where they are. Of equal ones the first counts; NaN is
// smaller than any number.
struct Smallest {
    float value;
    unsigned at;
};

// Whether a is to be preferred.
__device__ __forceinline__ bool precedes(Smallest a, Smallest b) {
    bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan && (!b_nan || a.at < b.at);
    return a.value < b.value || (a.value == b.value && a.at < b.at);
}

// One warp for each of `rows` rows.
KERNEL(minima_rows, THREADS, (const float *x, size_t rows, unsigned columns, float *min, unsigned *at)) {
    unsigned lane = threadIdx.x % WARP_SIZE, warps = THREADS / WARP_SIZE;
    for (size_t row = size_t(blockIdx.x) * warps + threadIdx.x / WARP_SIZE; row < rows;
         row += size_t(gridDim.x) * warps) {
        // A column that does not exist is beaten by every one that does.
        Smallest best = {POSITIVE_INFINITY, ~0u};
        for (unsigned j = lane; j < columns; j += WARP_SIZE) {
            Smallest found = {x[row * columns + j], j};
            if (precedes(found, best)) best = found;
        }
        for (int offset = WARP_SIZE / 2; offset > 0; offset /= 2) {
            Smallest other = {__shfl_xor_sync(ALL_LANES, best.value, offset),
                              __shfl_xor_sync(ALL_LANES, best.at, offset)};
            if (precedes(other, best)) best = other;
        }
        if (lane == 0) {
            min[row] = best.value;
            at[row] = best.at;
        }
    }
}

// A block's columns side by side, each shared by GROUPS threads.
constexpr unsigned GROUPS = THREADS / WARP_SIZE;

// Blocks: columns, samples.
KERNEL(minima_columns, THREADS, (const float *x, unsigned batch, unsigned rows, unsigned columns, float *min,
                                 unsigned *at)) {
    __shared__ Smallest found[GROUPS][WARP_SIZE];
    unsigned lane = threadIdx.x % WARP_SIZE, group = threadIdx.x / WARP_SIZE, j = blockIdx.x * WARP_SIZE + lane;
    FOR_PLANES(s, batch) {
        Smallest best = {POSITIVE_INFINITY, ~0u};
        if (j < columns) {
            const float *column = x + s * rows * columns + j;
#pragma unroll 4
            for (unsigned i = group; i < rows; i += GROUPS) {
                Smallest next = {column[size_t(i) * columns], i};
                if (precedes(next, best)) best = next;
            }
        }
        found[group][lane] = best;
        __syncthreads();
        if (group == 0 && j < columns) {
            for (unsigned other = 1; other < GROUPS; other++) {
                if (precedes(found[other][lane], best)) best = found[other][lane];
            }
            min[s * columns + j] = best.value;
            at[s * columns + j] = best.at;
        }
        __syncthreads();
    }
}

// g_x[s, i, j] = g_row[s, i] where row_at[s, i] is j, plus g_column[s, j] where column_at[s, j] is i. One block for
// each of the S·M rows.
KERNEL(minima_backward, THREADS, (const unsigned *row_at, const unsigned *column_at, const float *g_row,
                                  const float *g_column, float *g_x, unsigned rows, unsigned columns)) {
    size_t row = blockIdx.x, s = row / rows;
    unsigned i = unsigned(row % rows), at = row_at[row];
    float g = g_row[row];
    for (unsigned j = threadIdx.x; j < columns; j += THREADS) {
        float sum = at == j ? g : 0.0f;
        if (column_at[s * columns + j] == i) sum += g_column[s * columns + j];
        g_x[row * columns + j] = sum;
    }
}
