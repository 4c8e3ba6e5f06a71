"""Compiles CUDA source from standard input to PTX on standard output with NVRTC.

    compile.py NAME LIBRARIES OPTION...    (`cargo xtask kernels` calls it)

LIBRARIES is the directory of libnvrtc; nothing else of CUDA is needed, and no GPU.
"""

import ctypes
import pathlib
import sys


def load(libraries):
    """NVRTC, after the library it would look for on its own."""
    for builtins in libraries.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
    found = sorted(libraries.glob("libnvrtc.so.*"))
    if not found:
        sys.exit(f"{libraries}: no libnvrtc.so there")
    return ctypes.CDLL(str(found[0]))


def text(nvrtc, program, what):
    """Log or PTX of a program."""
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


def main():
    name, libraries, *options = sys.argv[1:]
    nvrtc = load(pathlib.Path(libraries))
    program = ctypes.c_void_p()
    source = sys.stdin.buffer.read()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None) != 0:
        sys.exit(f"{name}: NVRTC refuses to start")
    arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    log = text(nvrtc, program, "ProgramLog").strip()
    if log:
        print(log, file=sys.stderr)
    if status != 0:
        sys.exit(f"{name}: does not compile")
    sys.stdout.write(text(nvrtc, program, "PTX"))


if __name__ == "__main__":
    main()
