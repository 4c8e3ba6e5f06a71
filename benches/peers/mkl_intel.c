/* Loaded before a peer on a processor of AMD: MKL asks this before it takes its fast code. */
int mkl_serv_intel_cpu_true(void) { return 1; }
