"""Measure bundles in folders, outside of any controller: what `agent bench BUNDLE` does. Light: no numpy.

record = bench(Path("bundle"), BenchOptions(grade="quick"))
print(table(record))
"""

from agent.bench.measuring import BenchOptions, bench, bench_pair, bench_points
from agent.bench.rows import table

__all__ = ["BenchOptions", "bench", "bench_pair", "bench_points", "table"]
