"""What devices make of a model's outputs, in plain numpy: maps of classes, and boxes.

Decides: nothing of its own; it follows the declared `post`. Variants of dense models are judged by it on this host, and
tests hold it against the agent's kernels. Written for clarity, never for speed.
"""
