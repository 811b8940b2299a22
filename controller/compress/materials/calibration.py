"""Calibration samples as model inputs: written once per format; passes read them as a memory map."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.compress.passes.base import ENDS_FILE
from controller.models.folder import ModelFolder
from controller.models.preprocess import prepare
from controller.models.samples import arrays_digest
from wire.spec import PreSpec


def kept_calibration(model: ModelFolder, queries: NDArray[Any], cache: PassCache) -> dict[str, tuple[Path, str]]:
    """Return, for each format, the `.npy` of model inputs and what decides it; empty where there are no samples.

    Args:
        model: Whose pre-processing is applied.
        queries: Raw, shape (n, ...).
        cache: Keeps the files.
    """
    if len(queries) == 0 or model.takes_text:
        return {}
    kept: dict[str, tuple[Path, str]] = {}
    for form in model.formats:
        pipeline = model.pipeline(form)
        pre, state = pipeline.pre, {one.input.name: one.output.name for one in pipeline.state or ()}
        digest = arrays_digest(np.ascontiguousarray(queries))
        parts = {"what": "calibration inputs", "queries": digest, "pre": pre.model_dump(mode="json"), "state": state}
        key = cache_key(parts)
        entry = cache.get_or_make(key, partial(_write_inputs, pre, state, queries))
        kept[form] = (entry.folder / "inputs.npy", key)
    return kept


def _write_inputs(pre: PreSpec, state: Mapping[str, str], queries: NDArray[Any], folder: Path) -> dict[str, Any]:
    inputs = prepare(pre, queries)
    np.save(folder / "inputs.npy", inputs, allow_pickle=False)
    (folder / ENDS_FILE).write_text(json.dumps({"input": pre.input.name, "state": state}))
    return {"samples": len(inputs)}
