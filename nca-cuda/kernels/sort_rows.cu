// Stable sort of rows, by merging: blocks sort chunks in shared memory, then runs are merged in pairs until one is
// left. What is sorted are items of 64 bits: a key above, the index below it, so that no two are equal.
typedef unsigned long long Item;

constexpr unsigned SORTERS = 512, ITEMS = 8, CHUNK = SORTERS * ITEMS;
// Behind every item.
constexpr Item NOTHING = ~0ull;

// An integer that orders as the float does: −0 equals 0, every NaN is last.
__device__ __forceinline__ unsigned key_of(float v) {
    if (v != v) return ~0u;
    // −0 + 0 = +0.
    unsigned bits = __float_as_uint(v + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// Where an item lies in shared memory: with the gaps, threads that each read their own ITEMS do not collide.
__device__ __forceinline__ unsigned slot(unsigned i) { return i + i / 16; }
constexpr unsigned SLOTS = CHUNK + CHUNK / 16;

// How many of the first d items of the merged runs come from the first run: `a(i)` and `b(i)` are the runs' items.
template <typename N, typename A, typename B>
__device__ __forceinline__ N merge_path(N d, N a_len, N b_len, A a, B b) {
    N low = d > b_len ? d - b_len : 0, high = min(d, a_len);
    while (low < high) {
        N middle = low + (high - low) / 2;
        if (a(middle) < b(d - 1 - middle)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The ITEMS items from number d on of two runs that lie in shared memory at `a` and `b`.
__device__ __forceinline__ void merge_some(const Item *shared, unsigned a, unsigned a_len, unsigned b, unsigned b_len,
                                           unsigned d, Item (&out)[ITEMS]) {
    unsigned i = merge_path(
        d, a_len, b_len, [=](unsigned at) { return shared[slot(a + at)]; },
        [=](unsigned at) { return shared[slot(b + at)]; });
    unsigned j = d - i;
    Item left = i < a_len ? shared[slot(a + i)] : NOTHING, right = j < b_len ? shared[slot(b + j)] : NOTHING;
#pragma unroll
    for (unsigned k = 0; k < ITEMS; k++) {
        if (left < right) {
            out[k] = left;
            i++;
            left = i < a_len ? shared[slot(a + i)] : NOTHING;
        } else {
            out[k] = right;
            j++;
            right = j < b_len ? shared[slot(b + j)] : NOTHING;
        }
    }
}

// Sorts the items of a block, ITEMS of each thread, in any order; they end in shared memory.
__device__ __forceinline__ void sort_chunk(Item (&items)[ITEMS], Item *shared) {
    unsigned t = threadIdx.x;
    // Odd and even neighbours in turn.
#pragma unroll
    for (unsigned round = 0; round < ITEMS; round++) {
#pragma unroll
        for (unsigned i = round % 2; i + 1 < ITEMS; i += 2) {
            Item low = min(items[i], items[i + 1]), high = max(items[i], items[i + 1]);
            items[i] = low;
            items[i + 1] = high;
        }
    }
    for (unsigned run = ITEMS;; run *= 2) {
        __syncthreads();
#pragma unroll
        for (unsigned k = 0; k < ITEMS; k++) shared[slot(t * ITEMS + k)] = items[k];
        __syncthreads();
        if (run == CHUNK) return;
        unsigned pair = t * ITEMS / (2 * run) * (2 * run);
        merge_some(shared, pair, run, pair + run, run, t * ITEMS - pair, items);
    }
}

// Items become values and indices: x, sorted and order are rows.
__device__ __forceinline__ void finish(Item item, size_t at, const float *x, float *sorted, unsigned *order) {
    unsigned index = unsigned(item);
    sorted[at] = x[index];
    order[at] = index;
}

// Sorts the chunks of x [R,N] to items, or, where a row is one chunk, to the end. Blocks: chunks, rows.
KERNEL(sort_rows_chunks, SORTERS, (const float *x, Item *items, float *sorted, unsigned *order, size_t rows,
                                   size_t len)) {
    __shared__ Item shared[SLOTS];
    size_t start = size_t(blockIdx.x) * CHUNK;
    FOR_PLANES(row, rows) {
        Item own[ITEMS];
#pragma unroll
        for (unsigned k = 0; k < ITEMS; k++) {
            size_t at = start + k * SORTERS + threadIdx.x;
            own[k] = at < len ? Item(key_of(x[row * len + at])) << 32 | at : NOTHING;
        }
        sort_chunk(own, shared);
        for (size_t i = threadIdx.x; i < CHUNK && start + i < len; i += SORTERS) {
            Item item = shared[slot(i)];
            if (items) {
                items[row * len + start + i] = item;
            } else {
                finish(item, i, x + row * len, sorted + row * len, order + row * len);
            }
        }
    }
}

// Sorts the chunks of items [R,N] in place.
KERNEL(sort_items_chunks, SORTERS, (Item *items, size_t rows, size_t len)) {
    __shared__ Item shared[SLOTS];
    size_t start = size_t(blockIdx.x) * CHUNK;
    FOR_PLANES(row, rows) {
        Item own[ITEMS];
#pragma unroll
        for (unsigned k = 0; k < ITEMS; k++) {
            size_t at = start + k * SORTERS + threadIdx.x;
            own[k] = at < len ? items[row * len + at] : NOTHING;
        }
        sort_chunk(own, shared);
        for (size_t i = threadIdx.x; i < CHUNK && start + i < len; i += SORTERS) {
            items[row * len + start + i] = shared[slot(i)];
        }
    }
}

// Merges runs of `run` items in pairs: from [R,N] to [R,N], or to values and indices where it is the last merge. A
// block makes CHUNK items of the result. Blocks: chunks, rows.
KERNEL(sort_rows_merge, SORTERS, (const Item *from, Item *to, const float *x, float *sorted, unsigned *order,
                                  size_t rows, size_t len, size_t run)) {
    __shared__ Item shared[SLOTS];
    __shared__ size_t cuts[2];
    size_t start = size_t(blockIdx.x) * CHUNK, pair = start / (2 * run) * (2 * run);
    size_t a_len = min(run, len - pair), b_len = min(run, len - pair - a_len);
    unsigned count = unsigned(min(size_t(CHUNK), len - start));
    FOR_PLANES(row, rows) {
        const Item *a = from + row * len + pair, *b = a + a_len;
        __syncthreads();
        if (threadIdx.x < 2) {
            size_t d = start - pair + (threadIdx.x == 0 ? 0 : count);
            cuts[threadIdx.x] = merge_path(
                d, a_len, b_len, [=](size_t at) { return a[at]; }, [=](size_t at) { return b[at]; });
        }
        __syncthreads();
        size_t a_first = cuts[0], b_first = start - pair - a_first;
        unsigned a_count = unsigned(cuts[1] - a_first), b_count = count - a_count;
        for (unsigned i = threadIdx.x; i < count; i += SORTERS) {
            shared[slot(i)] = i < a_count ? a[a_first + i] : b[b_first + i - a_count];
        }
        __syncthreads();
        Item own[ITEMS];
        unsigned d = min(threadIdx.x * ITEMS, count);
        merge_some(shared, 0, a_count, a_count, b_count, d, own);
        __syncthreads();
#pragma unroll
        for (unsigned k = 0; k < ITEMS; k++) {
            if (d + k < count) shared[slot(d + k)] = own[k];
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < count; i += SORTERS) {
            Item item = shared[slot(i)];
            if (to) {
                to[row * len + start + i] = item;
            } else {
                finish(item, start + i, x + row * len, sorted + row * len, order + row * len);
            }
        }
    }
}

// g_x[r, order[r, j]] = g_sorted[r, j]; order is a permutation of each row.
KERNEL(sort_rows_backward, THREADS, (const unsigned *order, const float *g_sorted, float *g_x, size_t rows,
                                     size_t len)) {
    FOR_PLANES(row, rows) {
        FOR_EACH(j, len) {
            unsigned index = order[row * len + j];
            if (index < len) g_x[row * len + index] = g_sorted[row * len + j];
        }
    }
}
