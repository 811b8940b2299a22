"""What is told while variants are made: a step for each that is made or failed, a line for each conversion."""

import pytest

from controller.compress.build import CONVERTING
from controller.deploy.progress import Silent, of_builds


class Told(Silent):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def advance(self, note: str = "") -> None:
        self.heard.append(("advance", note))

    def say(self, text: str) -> None:
        self.heard.append(("say", text))


@pytest.mark.parametrize(
    ("what", "heard"),
    [
        ("done", [("advance", "onnx-int8")]),
        ("failed: no samples", [("advance", "onnx-int8 failed: no samples")]),
        (f"{CONVERTING}onnx -> onnx fp16", [("say", f"onnx-int8: {CONVERTING}onnx -> onnx fp16")]),
        ("simplify", []),
        ("simplify (kept)", []),
    ],
)
def test_passes_are_not_told_one_by_one(what: str, heard: list[tuple[str, str]]) -> None:
    told = Told()
    of_builds(told)("onnx-int8", what)
    assert told.heard == heard
