"""From ONNX: one target a module."""
