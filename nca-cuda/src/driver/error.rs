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
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            device_error(format!("{message}; the driver cannot run these kernels: update it"))
        }
        // After these the driver refuses every call of this process.
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_LAUNCH_FAILED
        | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
        | CUresult::CUDA_ERROR_ASSERT
        | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUresult::CUDA_ERROR_INVALID_PC
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUresult::CUDA_ERROR_UNKNOWN => Error::Lost {
            backend: "cuda",
            message,
        },
        _ => device_error(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_told_from_a_full_one() {
        let of = |result| error_of(result, String::new());
        assert!(matches!(of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), Error::Lost { .. }));
        assert!(matches!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), Error::Device { .. }));
        assert!(matches!(of(CUresult::CUDA_ERROR_INVALID_VALUE), Error::Device { .. }));
    }
}
