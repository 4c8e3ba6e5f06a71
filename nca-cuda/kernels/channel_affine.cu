// Channels of one launch: their factors and summands travel with its arguments.
#define MAX_CHANNELS 128

struct Affine {
    float scale[MAX_CHANNELS], offset[MAX_CHANNELS];
};

// y[b, c] = scale[c] · x[b, c] + offset[c] for the `count` channels from `first`; x, y [B,C,P]. One block
// row for each (b, c).
KERNEL(channel_affine, THREADS, (Affine affine, unsigned first, unsigned channels, size_t plane, const float *x,
                                 float *y)) {
    float scale = affine.scale[blockIdx.y], offset = affine.offset[blockIdx.y];
    size_t start = (size_t(blockIdx.z) * channels + first + blockIdx.y) * plane;
    FOR_EACH(i, plane) y[start + i] = scale * x[start + i] + offset;
}
