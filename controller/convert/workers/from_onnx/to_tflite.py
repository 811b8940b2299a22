"""ONNX -> float TFLite by onnx2tf, without TensorFlow, for one query at a time.

Order: `model` (the `.onnx` file), `keep` (names of the inputs that keep the order of their axes; of the others the
channels become the last axis), `folder` (gets the files). Only the float file is taken: onnx2tf's own int8 computes
something else for some networks, and the controller's quantiser does not.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out
from controller.convert.workers.telling import last_words, used_versions


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write `model.tflite`.

    Raises:
        Unusable: An operator has no TFLite form here, or the graph cannot be read.
    """
    import onnx2tf

    folder = Path(order["folder"])
    slim = _slimmed(Path(order["model"]), folder)
    made = folder / "made"
    # Its progress goes to stderr with whatever else it prints: the runner keeps the last of that for a crash.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            onnx2tf.convert(
                input_onnx_file_path=str(slim),
                output_folder_path=str(made),
                batch_size=1,
                keep_shape_absolutely_input_names=list(order["keep"]) or None,
                copy_onnx_input_output_names_to_tflite=True,
                output_signaturedefs=True,
                not_use_onnxsim=True,
                non_verbose=True,
            )
        except (Exception, SystemExit) as exc:  # it raises errors of any kind, and leaves by sys.exit for many
            raise Unusable(f"onnx2tf refuses the model: {last_words(exc)}") from exc
    written = made / f"{slim.stem}_float32.tflite"
    if not written.is_file():
        raise Unusable(f"onnx2tf wrote no float32 file; it wrote {', '.join(sorted(p.name for p in made.iterdir()))}")
    written.rename(folder / "model.tflite")
    return {"file": "model.tflite", "versions": used_versions("onnx2tf", "onnxslim"), "notes": []}


def _slimmed(model: Path, folder: Path) -> Path:
    """Return the model with its constants folded, which recurrent networks cannot do without; else as it is."""
    import onnx
    import onnxslim

    slim = folder / "slim.onnx"
    onnx.save(onnxslim.slim(onnx.load(model)), slim)
    return slim


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
