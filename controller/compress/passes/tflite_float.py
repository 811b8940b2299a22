"""The model's own float TFLite file, checked and taken as it is: the float end of the second engine.

Where only its weights are stored in fewer bits, they are restored.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes import tflite_restore
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext
from controller.compress.passes.tflite_restore import RESTORABLE, needs_restorable, restored
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel


class TfliteFloatPass:
    """Refuses a file whose activations are integers: it would be called float and is not."""

    name = "tflite_float"
    needs = Needs(libraries=(), sources=(tflite_restore.__name__,))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_restorable(self.name, capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, _parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        facts = read_tflite(artifact.path)
        path = context.folder / "model.tflite"
        if facts.precision in RESTORABLE:
            path.write_bytes(restored(artifact.path))
            return Artifact("tflite", path, notes=(f"weights restored from {facts.precision}",))
        if facts.quantised_operators:
            raise UnusableModel(
                f"{artifact.path.name}: {facts.quantised_operators} operators are quantised already; export it as float"
            )
        shutil.copyfile(artifact.path, path)
        return Artifact("tflite", path)


PASS: CompressionPass = TfliteFloatPass()
