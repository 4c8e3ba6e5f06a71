// Kernels that only test the emulator itself.

// out[block, i] = in[block, last − i], by way of shared memory.
KERNEL(sample_reverse, 96, (const int *in, int *out)) {
    DYNAMIC_SHARED(int, values);
    unsigned first = blockIdx.x * blockDim.x;
    values[threadIdx.x] = in[first + threadIdx.x];
    __syncthreads();
    out[first + threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

// The same without the barrier.
KERNEL(sample_race, 96, (const int *in, int *out)) {
    DYNAMIC_SHARED(int, values);
    unsigned first = blockIdx.x * blockDim.x;
    values[threadIdx.x] = in[first + threadIdx.x];
    out[first + threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

// out[block, i] = in[block, 0] by way of what the first thread wrote, without the barrier: right where it runs first.
KERNEL(sample_broadcast, 96, (const int *in, int *out)) {
    DYNAMIC_SHARED(int, value);
    unsigned first = blockIdx.x * blockDim.x;
    if (threadIdx.x == 0) *value = in[first];
    out[first + threadIdx.x] = *value;
}

// out[block, i] = in[block, last − i] by way of asynchronous copies, zeros for every third; the same without waiting for
// them; and with a copy that begins while others may still read what it overwrites.
#define SAMPLE_COPY(name, await)                                                                                      \
    KERNEL(name, 96, (const float *in, float *out)) {                                                                 \
        DYNAMIC_SHARED(float, values);                                                                                \
        unsigned first = blockIdx.x * blockDim.x;                                                                     \
        copy_async(values + threadIdx.x, in + first + threadIdx.x, threadIdx.x % 3 != 0);                             \
        await;                                                                                                        \
        __syncthreads();                                                                                              \
        out[first + threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];                                              \
    }
SAMPLE_COPY(sample_copy, await_copies())
SAMPLE_COPY(sample_copy_not_awaited, )
KERNEL(sample_copy_early, 96, (const float *in, float *out)) {
    DYNAMIC_SHARED(float, values);
    unsigned first = blockIdx.x * blockDim.x;
    values[threadIdx.x] = in[first + threadIdx.x];
    __syncthreads();
    out[first + threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
    copy_async(values + threadIdx.x, in + first + threadIdx.x, true);
    __syncthreads();
    await_copies();
}

// Lanes of a whole warp: rotated, summed, and counted.
KERNEL(sample_warp, 32, (const int *in, int *out)) {
    int v = in[threadIdx.x];
    out += 2 * WARP_SIZE * blockIdx.x;
    out[threadIdx.x] = __shfl_sync(ALL_LANES, v, (threadIdx.x + 1) % WARP_SIZE);
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(ALL_LANES, v, offset);
    out[WARP_SIZE + threadIdx.x] = v + __popc(__ballot_sync(ALL_LANES, threadIdx.x % 3 == 0));
}

// A product of tensor cores, its registers as they come: each lane's four of A, two of B, and four of the sum.
#define SAMPLE_PRODUCT(name, multiply, swapped)                                                                       \
    KERNEL(name, 32, (const unsigned *in, float *out)) {                                                              \
        const unsigned *own = in + 10 * threadIdx.x;                                                                  \
        float d[4];                                                                                                   \
        for (int i = 0; i < 4; i++) d[i] = __uint_as_float(own[6 + i]);                                               \
        multiply(d[0], d[1], d[2], d[3], {own[0], own[1 + swapped], own[2 - swapped], own[3]}, {own[4], own[5]});     \
        for (int i = 0; i < 4; i++) out[4 * threadIdx.x + i] = d[i];                                                  \
    }
SAMPLE_PRODUCT(sample_mma_tf32, mma_tf32, 0)
SAMPLE_PRODUCT(sample_mma_f16, mma_f16, 0)
SAMPLE_PRODUCT(sample_mma_bf16, mma_bf16, 0)
// With two registers in each other's place.
SAMPLE_PRODUCT(sample_mma_swapped, mma_tf32, 1)

// Conversions to the formats of factors: tf32, f16 and bf16 of each number.
KERNEL(sample_factors, 32, (const float *in, unsigned *out)) {
    float v = in[threadIdx.x];
    out[3 * threadIdx.x] = as_tf32(v);
    out[3 * threadIdx.x + 1] = as_f16x2(v, -v);
    out[3 * threadIdx.x + 2] = as_bf16x2(v, -v);
}

// A barrier that one thread never reaches.
KERNEL(sample_diverging, 64, (int *out)) {
    if (threadIdx.x != 5) __syncthreads();
    out[threadIdx.x] = 1;
}

// Two barriers where each thread reaches one of them.
KERNEL(sample_two_barriers, 64, (int *out)) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        out[threadIdx.x] = 1;
        __syncthreads();
    }
}

// Shared memory behind a barrier of the warp alone: right for one warp, a race between two.
KERNEL(sample_warp_barrier, 96, (const int *in, int *out)) {
    DYNAMIC_SHARED(int, values);
    unsigned first = blockIdx.x * blockDim.x;
    values[threadIdx.x] = in[first + threadIdx.x];
    __syncwarp();
    out[first + threadIdx.x] = values[threadIdx.x ^ 1];
}

// Shared memory behind a shuffle, which orders no memory.
KERNEL(sample_shuffle_is_no_barrier, 32, (const int *in, int *out)) {
    DYNAMIC_SHARED(int, values);
    int v = in[threadIdx.x];
    values[threadIdx.x] = v;
    v = __shfl_sync(ALL_LANES, v, 0);
    out[blockIdx.x * blockDim.x + threadIdx.x] = v + values[threadIdx.x ^ 1];
}

// A barrier before the first reads and none before the next writes, in a variable that every block has its own of.
KERNEL(sample_overwritten, 64, (const int *in, int *out)) {
    __shared__ int value;
    if (threadIdx.x == 0) value = in[0];
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
    if (threadIdx.x == 40) value = in[1];
}

// Every block its own half of a word, and then all of them the same word.
KERNEL(sample_halves, 32, (const int *in, int *out)) {
    if (threadIdx.x == 0) reinterpret_cast<unsigned short *>(out)[blockIdx.x] = (unsigned short)in[blockIdx.x];
}
KERNEL(sample_blocks, 32, (const int *in, int *out)) {
    if (threadIdx.x == 0) out[0] = in[blockIdx.x];
}
