"""ONNX -> float TFLite by onnx2tf, without TensorFlow, for one query at a time.

Order: `model` (the `.onnx` file), `keep` (names of the inputs that keep the order of their axes; of the others the
channels become the last axis), `folder` (gets the files). Only the float file is taken: onnx2tf's own int8 computes
something else for some networks, and the controller's quantiser does not.
"""

import contextlib
import re
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
    keep = [form for name in order["keep"] for form in dict.fromkeys((name, _as_written(name)))]
    # Its progress goes to stderr with whatever else it prints: the runner keeps the last of that for a crash.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            onnx2tf.convert(
                input_onnx_file_path=str(slim),
                output_folder_path=str(made),
                batch_size=1,
                keep_shape_absolutely_input_names=keep or None,
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
    _name_as_before(written, slim, folder / "model.tflite")
    return {"file": "model.tflite", "versions": used_versions("onnx2tf", "onnxslim"), "notes": []}


def _slimmed(model: Path, folder: Path) -> Path:
    """Return the model with its constants folded, which recurrent networks cannot do without; else as it is."""
    import onnx
    import onnxslim

    slim = folder / "slim.onnx"
    onnx.save(onnxslim.slim(onnx.load(model)), slim)
    return slim


def _name_as_before(written: Path, model: Path, named: Path) -> None:
    """Copy a TFLite file; its inputs and outputs get the ONNX file's names, where onnx2tf wrote others."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    names = [each.name for each in (*graph.input, *graph.output)]
    before = {_as_written(name): name for name in names if _as_written(name) != name}
    content = written.read_bytes()
    named.write_bytes(_renamed(content, before) if before else content)


def _as_written(name: str) -> str:
    """Return what onnx2tf calls a tensor, whatever it is asked to keep."""
    return re.sub("^/", "wa/", name.replace(":", "__"))


def _renamed(content: bytes, names: Mapping[str, str]) -> bytes:
    """Return a TFLite file with other names for some of its inputs and outputs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in tree.subgraphs:
        for tensor in (graph.tensors[index] for index in (*graph.inputs, *graph.outputs)):
            tensor.name = names.get(tensor.name.decode(), tensor.name)
    for end in (end for each in tree.signatureDefs or () for end in (*each.inputs, *each.outputs)):
        end.name = names.get(end.name.decode(), end.name)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(carry_out(convert, sys.argv))
