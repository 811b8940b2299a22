"""Smaller networks made of a model's own graph: students that a training pass teaches afterwards.

Each module makes one change and says in words what it did: `depth`, `early`, `width`, `separable`, `normalise`,
`fresh`. They come one after the other in `derive`.
"""
