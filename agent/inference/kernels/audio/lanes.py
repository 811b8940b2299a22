"""How sixteen frames lie side by side; see the package.

A loop over `LANES` with little in it is unrolled before anything makes vectors of it, and stays scalar. Such loops are
given the number by their caller, who reads it from an array.
"""

import numpy as np

LANES = 16
"""Frames side by side: one vector of AVX-512, two of AVX2, four of NEON."""
ROW = 2 * LANES
"""A row of complex numbers: the real parts of all lanes, then the imaginary ones."""

U = np.uint64
"""What rows are indexed by."""
IMAGINARY = U(LANES)
"""From a real part to its imaginary one."""
