"""Passes that make another, smaller network of a model's graph, to be taught by a training pass."""
