"""Peak memory of calibrating on many samples against few: it may depend on the largest activation, not on their number.

Decides: that a pass runs in a process of its own, whose peak is the kernel's own count (`ru_maxrss` of the child).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import Claim, at_most, repository
from controller.compress.cache import PassCache
from controller.compress.materials.calibration import kept_calibration
from controller.models.folder import ModelFolder
from controller.models.samples import training_samples

FEW, MANY, QUICK_MANY = 100, 10_000, 2_000
MOST_RATIO = 1.5
_PEAK = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def memory_claim(folder: Path, quick: bool) -> Claim:
    """Return the claim on `fashion`.

    Raises:
        UnusableData: Its pictures are not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = ModelFolder.load(repository() / "models" / "fashion")
    samples = training_samples(model, folder / "datasets").inputs
    many = QUICK_MANY if quick else MANY
    peaks = {count: _peak(model, np.asarray(samples[:count]), folder) for count in (FEW, many)}
    how = (
        f"peak of the pass's process: {peaks[FEW] / 1e6:.0f} MB on {FEW} pictures, {peaks[many] / 1e6:.0f} MB on {many}"
    )
    return at_most("memory while calibrating, many samples to few", peaks[many] / peaks[FEW], MOST_RATIO, "", how)


def _peak(model: ModelFolder, queries: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", folder: Path) -> int:
    """Return the peak resident memory of one static quantisation [bytes], in a cache that is empty."""
    place = folder / f"{len(queries)}-{os.getpid()}"
    place.mkdir(exist_ok=True)
    path, digest = kept_calibration(model, queries, PassCache(place / "inputs"))["onnx"]
    parameters = {
        "scheme": "u8u8", "calibration": "mse", "percentile": None, "per_channel": True, "reduce_range": False,
        "least_sqnr_db": None, "rounding": "nearest", "bias_correction": False, "samples": len(queries),
    }  # fmt: skip
    around = {"folder": str(place), "cache": str(place / "cache"), "training": None, "root": str(model.root)}
    order = {
        "do": "pass",
        "pass": "quantize_static",
        "parameters": parameters,
        "artifact": {"format": "onnx", "path": str(model.file("onnx")), "precision": "float32"},
        "context": {**around, "calibration": str(path), "calibration_digest": digest, "seed": 0, "threads": 1},
        "result_path": str(place / "result.json"),
    }
    (place / "order.json").write_text(json.dumps(order))
    step = [sys.executable, "-m", "controller.compress.process.step", str(place / "order.json")]
    done = subprocess.run([sys.executable, "-c", _PEAK, *step], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])
