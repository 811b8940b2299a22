"""The package of a Core ML program: packed the same way each time, read again, its weights compared.

Decides: how an `.mlpackage`, which is a folder, becomes one file, and what its weights are compared by. The program's
date and its random identifiers are taken out: one network gives one file.
"""

import json
import re
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say."""

_PACKAGE = "model.mlpackage"
_ENDING = re.compile(r"(_to_fp16)?(_palettized|_quantized)?$")
_DATED = "com.github.apple.coremltools.conversion_date"


def pack(program: Any, folder: Path) -> tuple[Path, Any]:
    """Write a program as `model.mlpackage.zip`; return its path and the program as it is read from there."""
    import coremltools as ct

    for note in [key for key in program.user_defined_metadata if key == _DATED]:
        del program.user_defined_metadata[note]
    written = folder / "written" / _PACKAGE
    written.parent.mkdir()
    program.save(str(written))
    _name_items(written / "Manifest.json")
    _order_notes(next(written.rglob("model.mlmodel")))
    path = folder / f"{_PACKAGE}.zip"
    _zip(written, path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "read")
    return path, ct.models.MLModel(str(folder / "read" / _PACKAGE), skip_model_load=True)


def weights(program: Any, *, compressed: bool = False) -> dict[str, Any]:
    """Return the program's real weights by name, float32; those that are stored in fewer bits are decompressed first.

    A name is that which the float program has: what half precision and compression put behind it is cut off.
    """
    import coremltools.optimize.coreml as optimise
    import numpy as np

    plain = optimise.decompress_weights(program) if compressed else program
    found = optimise.get_weights_metadata(plain, weight_threshold=0)
    values = {_ENDING.sub("", name): np.asarray(each.val) for name, each in found.items()}
    return {name: value.astype(np.float32) for name, value in values.items() if value.dtype.kind == "f"}


def unchanged(exact: Mapping[str, Any], state: Mapping[str, Any]) -> int:
    """Return how many of a network's weights stand in the float program as they are: the others were folded."""
    import numpy as np

    kept = [value for value in exact.values() if value.size > 1]
    return sum(any(value.shape == one.shape and np.array_equal(value, one) for one in kept) for value in state.values())


def compared(exact: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far stored weights lie from the float program's, the worst of them named.

    Raises:
        Unusable: A weight is missing, or has another shape.
    """
    import numpy as np

    worst, lowest_db = "", None
    for name, values in exact.items():
        if name not in stored or stored[name].shape != values.shape:
            raise Unusable(f"the written program has not the weights {name!r} of shape {values.shape}")
        noise = float(np.square(stored[name].astype(np.float64) - values).sum())
        power = float(np.square(values.astype(np.float64)).sum())
        ratio = 10 * float(np.log10(max(power, 1e-300) / noise)) if noise else None
        if ratio is not None and (lowest_db is None or ratio < lowest_db):
            worst, lowest_db = name, ratio
    return {"compared": len(exact), "lowest_sqnr_db": lowest_db, "worst": worst}


def _name_items(manifest: Path) -> None:
    """Replace the manifest's random identifiers by ones that follow from the items' paths."""
    document = json.loads(manifest.read_bytes())
    items = document["itemInfoEntries"]
    names = {key: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])).upper() for key, item in items.items()}
    document["itemInfoEntries"] = {names[key]: item for key, item in items.items()}
    document["rootModelIdentifier"] = names[document["rootModelIdentifier"]]
    manifest.write_text(json.dumps(document, indent=4, sort_keys=True))


def _order_notes(specification: Path) -> None:
    """Write the specification anew with the entries of its maps in order; by itself their order is any."""
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString(specification.read_bytes())
    specification.write_bytes(model.SerializeToString(deterministic=True))


def _zip(folder: Path, path: Path) -> None:
    """Write a zip without compression (chunks are compressed on their way), in the order of the names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}", FIRST_DAY)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
