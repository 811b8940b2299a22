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
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.process.order import pass_order
from controller.compress.recipe import PassStep
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
    asked = {"scheme": "u8u8", "calibration": "mse", "samples": len(queries)}
    step = PassStep.model_validate({"quantize_static": asked})
    context = PassContext(place, PassCache(place / "cache"), path, digest, root=model.root)
    order = pass_order(step.name, step.parameters, Artifact("onnx", model.file("onnx")), context)
    (place / "order.json").write_text(json.dumps({**order, "result_path": str(place / "result.json")}))
    command = [sys.executable, "-m", "controller.compress.process.step", str(place / "order.json")]
    done = subprocess.run([sys.executable, "-c", _PEAK, *command], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])
