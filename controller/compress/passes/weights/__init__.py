"""Passes that change the weights of a float ONNX model and need no data."""
