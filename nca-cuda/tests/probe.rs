//! The probe on this machine, and in front of drivers that are broken in every way it knows.

use std::path::Path;
use std::process::Command;

use nca_cuda::{CudaInfo, Unavailable, probe};

/// The device, or `None` with the reason printed; where `NCA_REQUIRE_GPU=1`, a failure instead.
fn device() -> Option<CudaInfo> {
    match probe() {
        Ok(info) => Some(info),
        Err(reason) if std::env::var("NCA_REQUIRE_GPU").is_ok_and(|value| value == "1") => {
            panic!("NCA_REQUIRE_GPU=1, but: {reason}")
        }
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn the_device_found_is_described() {
    let Some(info) = device() else { return };
    assert!(!info.name.is_empty());
    assert!(info.compute.0 >= 5 && info.memory > 1 << 28, "{info:?}");
    assert!(info.driver >= nca_cuda::MIN_DRIVER);
    assert_eq!(probe(), Ok(info), "a second look must see the same");
}

/// Not a test of its own: prints what the probe says to the process that [`probe_with`] starts.
#[test]
fn report() {
    match probe() {
        Ok(info) => println!("probe: {info}"),
        Err(reason) => println!("probe: {reason}"),
    }
}

/// What a fresh process says when `driver` is its libcuda: C source, or `None` for no file at all.
fn probe_with(driver: Option<&str>) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    if let Some(source) = driver
        && !compile(source, dir.path())
    {
        eprintln!("skipped: no C compiler makes a shared library here");
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "report", "--nocapture"])
        .env("LD_LIBRARY_PATH", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "the probe panicked: {text}");
    let line = text.lines().find_map(|line| line.split_once("probe: "));
    Some(line.unwrap_or_else(|| panic!("no report in {text}")).1.to_owned())
}

/// Makes `libcuda.so` and `libcuda.so.1` of C source; `false` where that cannot be done.
fn compile(source: &str, dir: &Path) -> bool {
    let (code, library) = (dir.join("driver.c"), dir.join("libcuda.so"));
    std::fs::write(&code, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .status();
    let compiled = cfg!(target_os = "linux") && compiled.is_ok_and(|status| status.success());
    compiled && std::fs::copy(&library, dir.join("libcuda.so.1")).is_ok()
}

/// A driver whose `cuInit` answers `init`, for CUDA `version`, with `devices` devices.
fn driver(init: u32, version: u32, devices: u32) -> String {
    let unused = "cuDeviceGetAttribute cuDeviceTotalMem_v2 cuDeviceGetName cuCtxGetCurrent cuCtxSetCurrent \
                  cuCtxSynchronize cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuDeviceGetDefaultMemPool cuMemPoolTrimTo \
                  cuMemPoolSetAttribute cuMemAllocAsync cuMemFreeAsync cuMemAlloc_v2 cuMemFree_v2 cuMemsetD8Async \
                  cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoDAsync_v2 cuMemGetInfo_v2 cuStreamCreate \
                  cuStreamDestroy_v2 cuStreamSynchronize cuModuleLoadData cuModuleGetFunction cuModuleUnload \
                  cuFuncGetAttribute cuFuncSetAttribute cuLaunchKernel";
    let unused: String = unused
        .split(' ')
        .map(|name| format!("int {name}(void) {{ return 999; }}\n"))
        .collect();
    format!(
        "{unused}
         int cuInit(unsigned flags) {{ return {init}; }}
         int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}
         int cuDeviceGetCount(int *count) {{ *count = {devices}; return 0; }}
         int cuDeviceGet(int *device, int ordinal) {{ return 999; }}
         int cuGetErrorString(int error, const char **text) {{ *text = \"the words of the driver\"; return 0; }}"
    )
}

#[test]
#[cfg(target_os = "linux")]
fn broken_drivers_are_explained() {
    let cases = [
        ("int unrelated;".to_owned(), "lacks the function cuInit"),
        (
            driver(0, 12_000, 1).replace("cuDeviceGetCount", "cuDeviceCount"),
            "lacks the function cuDeviceGetCount",
        ),
        (driver(0, 11_040, 1), "supports CUDA 11.4, needed is 12.0"),
        (driver(100, 12_000, 1), "shows no device"),
        (driver(0, 12_020, 0), "shows no device"),
        (driver(34, 12_020, 1), "failed at cuInit: the words of the driver"),
        (driver(0, 13_000, 1), "failed at cuDeviceGet: the words of the driver"),
    ];
    for (source, expected) in cases {
        let Some(said) = probe_with(Some(&source)) else { return };
        assert!(said.contains(expected), "{said:?} instead of {expected:?}");
    }
}

#[test]
fn a_machine_without_a_driver_is_told_so() {
    if probe() != Err(Unavailable::NoDriver) {
        eprintln!("skipped: this machine has a CUDA driver");
        return;
    }
    let said = probe_with(None).unwrap();
    assert!(said.contains("no CUDA driver (libcuda) found"), "{said}");
}

#[test]
fn the_reason_becomes_an_error_of_the_backend() {
    let error = nca_core::Error::from(Unavailable::NoDriver).to_string();
    assert!(error.starts_with("cuda backend: no CUDA driver"), "{error}");
}
