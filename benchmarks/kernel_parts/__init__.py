"""The parts of `benchmarks.kernels`, one for each family of kernels."""
