"""Benchmarks: `python -m benchmarks.NAME [--json] [--quick]`. Each makes claims that it measured in that run."""
