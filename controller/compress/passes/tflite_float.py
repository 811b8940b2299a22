"""The model's own float TFLite file, checked and taken as it is: the float end of the second engine."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel


class TfliteFloatPass:
    """Refuses a file that is quantised already: it would be called float and is not."""

    name = "tflite_float"
    needs = Needs(libraries=())

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "tflite", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, _parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        facts = read_tflite(artifact.path)
        if facts.quantised_operators:
            raise UnusableModel(
                f"{artifact.path.name}: {facts.quantised_operators} operators are quantised already; export it as float"
            )
        path = context.folder / "model.tflite"
        shutil.copyfile(artifact.path, path)
        return Artifact("tflite", path)


PASS: CompressionPass = TfliteFloatPass()
