"""What `benchmarks/footprint.py` measures, one part a module."""
