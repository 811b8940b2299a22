"""Model folders: what a model is, its data, and how one is imported.

Decides: the schema of `model.yaml`, which files are usable as models, how labelled samples are loaded and split.
Leaves out: compression (`controller/compress`) and transport (`controller/bundle`).
"""
