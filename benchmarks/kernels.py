"""Pre- and post-processing kernels against the best peer that a user would pick, single thread.

Decides: which parts run. Each claim is a ratio from one run, peer and kernel interleaved, and says how far the results
differ. A peer that is not installed leaves its claim unmeasured: the `bench` extra brings all but torchvision, which is
asked for in an interpreter of its own (`THRESHER_TORCHVISION_PYTHON`). Leaves out: the measuring (`kernel_parts`).

    python -m benchmarks.kernels [--json] [--quick]
"""

import os

from benchmarks.common import Claim, run

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def measure(quick: bool) -> list[Claim]:
    """Return the claims of all parts; threads are limited before anything heavy is imported."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    from agent.inference.limits import apply_limits
    from agent.warm import ensure_warm
    from benchmarks.kernel_parts import audio, boxes, image, series

    ensure_warm(None)
    apply_limits(threads=1)
    return [claim for part in (image, boxes, audio, series) for claim in part.claims(quick)]


if __name__ == "__main__":
    run("kernels", measure)
