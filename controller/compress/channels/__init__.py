"""Channels of an ONNX graph that must go together, and taking them out: structured pruning without the training code.

What a pass needs: `trace` follows channels through the graph, `select` says which may go, `cut` takes them out.
"""
