"""A PyTorch module with its weights, or an exported program, becomes a model folder with an ONNX file made of it.

Decides: what is copied, and that weights are read without unpickling code. Leaves out: the export
(`controller/convert/workers/from_torch`), which runs the module's file in a converter environment.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from controller.convert.signature import check_readable, read_signature
from controller.errors import ConfigurationError, NotFound
from controller.models.sources.base import Draft, ImportRequest, refuse_unused
from controller.models.sources.converting import check_same, made, query_shape, run, scratch_folder, write_queries
from controller.models.sources.states import ends

FILE = "model.onnx"
OPSET = 20
STATES = (".safetensors", ".pt", ".pth", ".bin")


def draft_module(request: ImportRequest, folder: Path) -> Draft:
    """Copy the module's file and its weights, and write `model.onnx`.

    Raises:
        NotFound: The file or the weights are not there.
        ConfigurationError: No weights are named, or no shape is known.
        ConverterMissing: The environment `torch` is not installed.
        ConversionFailed: The module cannot be made, does not fit its weights, or cannot be exported.
    """
    refuse_unused(request, "a PyTorch module", "state", "inputs")
    file, _, function = request.source.name.partition(":")
    module, state = request.source.parent / file, _state(request)
    if not module.is_file():
        raise NotFound(f"{module}: no such file; name a module as FILE.py:FUNCTION")
    shutil.copyfile(module, folder / file)
    shutil.copyfile(state, folder / state.name)
    return _exported(request, folder, {"factory": f"{file}:{function}", "state": state.name})


def draft_program(request: ImportRequest, folder: Path) -> Draft:
    """Copy an exported program (`torch.export.save`), and write `model.onnx`.

    Raises:
        ConfigurationError: No shape is known.
        ConverterMissing: The environment `torch` is not installed.
        ConversionFailed: It cannot be read without unpickling, or cannot be exported.
    """
    refuse_unused(request, "an exported program", "inputs")
    check_readable(request.source)
    shutil.copyfile(request.source, folder / request.source.name)
    return _exported(request, folder, {"program": request.source.name})


def _state(request: ImportRequest) -> Path:
    state = request.state
    if state is None:
        raise ConfigurationError(
            f"{request.source}: its weights are missing; name them: --state weights.safetensors (or a .pt that holds a "
            f"state_dict)"
        )
    if not state.is_file():
        raise NotFound(f"{state}: no such file; --state names the module's weights")
    if state.suffix not in STATES:
        raise ConfigurationError(f"--state {state}: weights are read from {', '.join(STATES)}")
    check_readable(state)
    return state


def _exported(request: ImportRequest, folder: Path, torch: Mapping[str, str]) -> Draft:
    shape = query_shape(request)
    if shape is None:
        raise ConfigurationError(f"{request.source}: which shape does it take? Give --input 1,1,28,28, or --data")
    given = request.inputs[0].name if request.inputs else None
    request.progress("exporting to ONNX in the converter environment torch")
    with scratch_folder(folder) as scratch:
        queries = write_queries(shape, scratch / "queries.npy")
        order = {"root": str(folder), "torch": dict(torch), "inputs": str(queries), "opset": OPSET,
                 "names": {"input": given or "input"}}  # fmt: skip
        one = made(run("torch", "from_torch.to_onnx", order, scratch), scratch)
        check_same("onnx", one, queries)
        shutil.move(one.path, folder / FILE)
    found = ends(read_signature("onnx", folder / FILE), request.source, None)
    return Draft({"onnx": {"file": FILE, **found.entry}}, {"torch": dict(torch)}, one.notes, one.versions)
