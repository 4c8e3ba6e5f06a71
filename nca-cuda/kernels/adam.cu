// Constants of one step, formed on the host in f64.
struct AdamStep {
    float beta1, rest1, beta2, rest2, rate, root_bias2, epsilon, decay;
};

// g' = g + decay·p; m = β1·m + (1−β1)·g'; v = β2·v + (1−β2)·g'²; p −= rate · m / (√v/√bias2 + ε).
KERNEL(adam, THREADS, (AdamStep step, const float *g, float *p, float *m, float *v, size_t len)) {
    FOR_EACH(i, len) {
        float slope = g[i] + step.decay * p[i];
        float mean = step.beta1 * m[i] + step.rest1 * slope;
        float square = step.beta2 * v[i] + step.rest2 * slope * slope;
        m[i] = mean;
        v[i] = square;
        p[i] -= step.rate * mean / (sqrtf(square) / step.root_bias2 + step.epsilon);
    }
}
