"""ExecuTorch without torch: a small library of C functions over the C++ runtime that its wheel ships.

Built once on the device (`build.py`, from `bridge.cpp`), kept beside the kernels, loaded with ctypes (`library.py`).
"""
