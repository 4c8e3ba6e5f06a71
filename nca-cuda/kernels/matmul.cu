// C = alpha·op(A)·op(B) + beta·C for a batch of matrices.

struct Matmul {
    const float *a, *b;
    float *c;
    // From one matrix to the next; 0 for one that all products share.
    size_t a_next, b_next;
    // From one row of op(A) to the next, from one column: one of them is 1. So for op(B).
    size_t a_row, a_column, b_row, b_column;
    // M, K, N.
    int rows, inner, columns;
    // Tiles of a matrix C, in all and side by side.
    int tiles, tiles_across;
    // Terms of a slice, and whether there are several. If so, `c` has room for each slice's sums.
    int span, split;
    size_t slice;
    float alpha, beta;
};

// SIDE rows of A or columns of B. Neighbouring threads read neighbouring elements, whichever way they are stored.
template <int SIDE, int DEPTH> struct Operand {
    static constexpr int EACH = SIDE * DEPTH / THREADS;
    // The thread's first element of the next terms; from there to its others; from there to the next terms.
    const float *from;
    size_t step, advance;
    // Number of that element's term, and of its row or column; the others follow in steps.
    int term, side, term_step, side_step;
    // One past the last.
    int terms, sides;
    float held[EACH];

    // `along`: from one term to the next; `across`: from one row or column to the next. One of them is 1.
    __device__ __forceinline__ Operand(const float *base, size_t along, size_t across, int sides, int terms)
        : terms(terms), sides(sides) {
        bool terms_first = along == 1;
        term = terms_first ? int(threadIdx.x) % DEPTH : int(threadIdx.x) / SIDE;
        side = terms_first ? int(threadIdx.x) / DEPTH : int(threadIdx.x) % SIDE;
        term_step = terms_first ? 0 : THREADS / SIDE;
        side_step = terms_first ? THREADS / DEPTH : 0;
        from = base + term * along + side * across;
        step = term_step * along + side_step * across;
        advance = DEPTH * along;
    }
    __device__ __forceinline__ void load(int k0) {
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            bool inside = k0 + term + j * term_step < terms && side + j * side_step < sides;
            held[j] = inside ? from[j * step] : 0.0f;
        }
        from += advance;
    }
    template <typename To> __device__ __forceinline__ void store(To &to) {
#pragma unroll
        for (int j = 0; j < EACH; j++) element(to[term + j * term_step], side + j * side_step) = held[j];
    }
};

// Blocks: tiles of all matrices, slices.
template <typename T> __device__ __forceinline__ void multiply_tile(const Matmul &m) {
    int s = blockIdx.x / m.tiles, at = blockIdx.x % m.tiles;
    int row0 = at / m.tiles_across * T::HEIGHT, column0 = at % m.tiles_across * T::WIDTH;
    int first = blockIdx.y * m.span, end = min(first + m.span, m.inner);
    const float *left = m.a + s * m.a_next + row0 * m.a_row + first * m.a_column;
    const float *right = m.b + s * m.b_next + column0 * m.b_column + first * m.b_row;
    Operand<T::HEIGHT, T::DEPTH> a(left, m.a_column, m.a_row, m.rows - row0, end);
    Operand<T::WIDTH, T::DEPTH> b(right, m.b_row, m.b_column, m.columns - column0, end);
    T tile;
    multiply(tile, a, b, first, end);
    float *c = m.c + blockIdx.y * m.slice;
#pragma unroll
    for (int i = 0; i < T::TM; i++) {
        int row = row0 + T::row(i);
        if (row >= m.rows) continue;
#pragma unroll
        for (int j = 0; j < T::TN; j++) {
            int column = column0 + T::column(j);
            if (column >= m.columns) continue;
            size_t to = (size_t(s) * m.rows + row) * m.columns + column;
            float v = tile.sum[i][j];
            if (!m.split) v = m.beta == 0.0f ? m.alpha * v : m.alpha * v + m.beta * c[to];
            c[to] = v;
        }
    }
}

KERNEL(matmul_large, IN_PAIRS, (Matmul m)) { multiply_tile<ProductTile<128, 128, 8, 8>>(m); }
KERNEL(matmul_small, THREADS, (Matmul m)) { multiply_tile<ProductTile<64, 64, 4, 4>>(m); }

// On tensor cores. A factor may be a gradient, which f16 is too small for; the many terms that bf16 multiplies at a time
// take more registers than two blocks have.
KERNEL(matmul_large_tf32, IN_PAIRS, (Matmul m)) { multiply_tile<TensorTile<Tf32, 128, 128, 32, 64>>(m); }
KERNEL(matmul_small_tf32, THREADS, (Matmul m)) { multiply_tile<TensorTile<Tf32, 64, 64, 32, 16>>(m); }
KERNEL(matmul_large_bf16, THREADS, (Matmul m)) { multiply_tile<TensorTile<Bf16, 128, 128, 32, 64>>(m); }
KERNEL(matmul_small_bf16, THREADS, (Matmul m)) { multiply_tile<TensorTile<Bf16, 64, 64, 32, 16>>(m); }

// c = alpha · Σ over slices of partial[slice], in their order, + beta · c.
KERNEL(matmul_add_slices, THREADS, (const float *partial, float *c, size_t len, int slices, float alpha,
                                    float beta)) {
    FOR_EACH(i, len) {
        float sum = 0.0f;
        for (int s = 0; s < slices; s++) sum += partial[s * len + i];
        c[i] = beta == 0.0f ? alpha * sum : alpha * sum + beta * c[i];
    }
}
