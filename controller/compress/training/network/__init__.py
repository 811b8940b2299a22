"""An ONNX graph as a PyTorch module: its operators, its weights, and the way back."""
