"""Training of ONNX graphs with PyTorch: runs in the converter environment `torch`, imports no library but its own.

Decides: nothing here. `graph.py` makes a graph trainable, `loop.py` trains it, `worker.py` is what is started.
"""
