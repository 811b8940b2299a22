"""Samples as passes read them: prepared as the model takes them, in files that are kept by content."""
