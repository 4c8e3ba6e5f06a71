//! The kernels, compiled for the host, through the suite that every backend runs.

nca_core::backend_suite!(nca_cuda::Cuda::emulated);
