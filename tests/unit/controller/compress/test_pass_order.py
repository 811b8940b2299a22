"""A pass's order: what is written is what is read, and no field of the context is left out."""

import json
from dataclasses import fields
from pathlib import Path

from controller.compress.cache import PassCache
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.process.order import ordered, pass_order


def as_read(context: PassContext) -> PassContext:
    order = json.loads(json.dumps(pass_order("simplify", {}, Artifact("onnx", Path("m.onnx")), context)))
    return ordered(order)[1]


def told(context: PassContext) -> dict[str, object]:
    return {**vars(context), "cache": context.cache.root}


def test_every_field_of_the_context_arrives(tmp_path: Path) -> None:
    context = PassContext(
        folder=tmp_path / "out",
        cache=PassCache(tmp_path / "cache"),
        calibration=tmp_path / "calibration.npy",
        calibration_digest="64 rows",
        seed=3,
        threads=2,
        training=tmp_path / "material",
        root=tmp_path / "model",
    )
    bare = PassContext(tmp_path / "out", context.cache)
    given = {each.name for each in fields(context) if getattr(context, each.name) != getattr(bare, each.name)}
    assert given == {each.name for each in fields(context)} - {"folder", "cache"}, "a field that this test leaves out"
    assert told(as_read(context)) == told(context)


def test_what_a_context_has_not_is_not_made_up(tmp_path: Path) -> None:
    bare = PassContext(tmp_path / "out", PassCache(tmp_path / "cache"))
    assert told(as_read(bare)) == told(bare)


def test_the_pass_its_parameters_and_its_file_arrive(tmp_path: Path) -> None:
    artifact = Artifact("tflite", tmp_path / "m.tflite", "int8", ("a note for people",))
    order = pass_order("prune", {"ratio": 0.5}, artifact, PassContext(tmp_path, PassCache(tmp_path / "cache")))
    assert (order["do"], order["pass"], order["parameters"]) == ("pass", "prune", {"ratio": 0.5})
    assert ordered(order)[0] == Artifact("tflite", tmp_path / "m.tflite", "int8")
