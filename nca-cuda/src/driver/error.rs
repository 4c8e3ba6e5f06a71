//! What the driver says, and what can be done.

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use nca_core::Error;

/// An error of this backend.
pub(super) fn device_error(message: String) -> Error {
    Error::Device {
        backend: "cuda",
        message,
    }
}

/// The error of a call that should have done `what`.
pub(super) fn explain(what: &str, error: DriverError) -> Error {
    let words = error.error_string().map_or_else(
        |_| format!("error {}", error.0 as u32),
        |text| text.to_string_lossy().into_owned(),
    );
    error_of(error.0, format!("the device could not {what}: {words}"))
}

/// The error that a result of the driver means, with what to do about it.
fn error_of(result: CUresult, message: String) -> Error {
    match result {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            device_error(format!("{message}; use a smaller grid, batch or memory budget"))
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED => device_error(format!(
            "{message}; the driver cannot translate these kernels: update it, with all of its libraries"
        )),
        // What a call was given was wrong, or is not to be had: the next call may succeed.
        CUresult::CUDA_ERROR_INVALID_VALUE
        | CUresult::CUDA_ERROR_INVALID_HANDLE
        | CUresult::CUDA_ERROR_NOT_FOUND
        | CUresult::CUDA_ERROR_NOT_SUPPORTED
        | CUresult::CUDA_ERROR_NOT_PERMITTED
        | CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES => device_error(message),
        // After most others the driver refuses every call of this process. Whoever goes on although he should not fails at
        // all that is left; whoever stops although he need not loses nothing.
        _ => Error::Lost {
            backend: "cuda",
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_told_from_a_full_one() {
        let of = |result| error_of(result, String::new());
        for lost in [
            CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
            CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE,
            CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED,
            CUresult::CUDA_ERROR_DEINITIALIZED,
        ] {
            assert!(matches!(of(lost), Error::Lost { .. }), "{lost:?}");
        }
        assert!(matches!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), Error::Device { .. }));
        assert!(matches!(of(CUresult::CUDA_ERROR_INVALID_VALUE), Error::Device { .. }));
    }
}
