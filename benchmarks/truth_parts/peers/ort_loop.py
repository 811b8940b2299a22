"""Run `ort_loop.c` in this process, over the very library that the Python package of ONNX Runtime links.

    python ort_loop.py LIBRARY ARGUMENT…        of `run_loop`; LIBRARY is ort_loop.c, compiled

The package also brings that library as a file of its own, but built otherwise: of the same model it is some 3 % faster.
The linked one offers its C API to custom operators only, so the loop is loaded as if it had some.
"""

import ctypes
import sys


def main(library: str, *arguments: str) -> int:
    """Load the loop, and return its exit code."""
    import onnxruntime

    options = onnxruntime.SessionOptions()  # kept: with it the library would be closed
    options.register_custom_ops_library(library)
    words = [argument.encode() for argument in arguments]
    return int(ctypes.CDLL(library).run_loop(len(words), (ctypes.c_char_p * len(words))(*words)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
