"""The product's measuring worker, with this benchmark's amounts and engines: started by the product's own launcher.

python -m agent.launch SETTINGS benchmarks.truth_parts.worker ORDER.json
"""

import sys
from collections.abc import Mapping
from dataclasses import replace

from agent.inference.engines.registry import ENGINES
from agent.measure import worker
from agent.measure.protocol import GRADES, GradeRule
from wire.trial import Grade

MODULE = "benchmarks.truth_parts.worker"

PAIRED: GradeRule = replace(
    GRADES["quick"],
    replicates=5,
    looks=(),
    fewest_quiet=0,
    warm_up_runs=10,
    warm_up_s=0.25,
    window_s=0.05,
    warm_up_cap_s=0.5,
    timed_runs=100,
    timed_s=0.6,
    timed_cap_s=4.0,
    budget_s=120.0,
    repeats_disturbed=True,
)
"""Five processes a side and no further looks, each 1 to 2 s; a disturbed one is taken once more, as in the grade
`normal`."""

ROUNDS = replace(
    PAIRED, looks=(7, 10), interval_ratio=0.02, warm_up_s=0.15, warm_up_cap_s=0.2, timed_s=0.9, repeats_disturbed=False
)
"""Rounds in lock-step, each side 0.9 s in turns; more of them by the rule of the grade `normal`. What has not settled
after a third of a second goes on to settle in turns, in both sides alike."""

HASTY = replace(
    PAIRED,
    replicates=3,
    warm_up_s=0.1,
    window_s=0.03,
    warm_up_cap_s=0.15,
    timed_runs=30,
    timed_s=0.2,
    repeats_disturbed=False,
)
"""For `--quick`: it shows that all parts run, and claims no rate."""

RULES: Mapping[Grade, GradeRule] = {"quick": HASTY, "normal": PAIRED, "ranking": ROUNDS}
"""What the shipped grades mean in this benchmark, in the parent and in its workers."""


def main(arguments: list[str]) -> int:
    """Carry out the order in the file that `arguments` names, and return the exit code."""
    GRADES.update(RULES)
    for name in ("busy", "allocating"):
        ENGINES[name] = ("benchmarks.truth_parts.engines", f"{name.capitalize()}Engine")
    return worker.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
