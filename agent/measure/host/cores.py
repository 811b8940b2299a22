"""How many threads an engine can have here: no more than cores, nor than a quota's worth of them."""

import math
import os
from collections.abc import Collection
from pathlib import Path

from agent.measure.conditions.confines import cpu_quota_cores
from agent.measure.conditions.read import ROOT


def usable_threads(cores: Collection[int] | None = None, quota_cores: float | None = None, root: Path = ROOT) -> int:
    """Return min(cores, quota), the quota rounded up: half a core still runs one thread.

    Args:
        cores: Those that workers are held to; None: those of this process.
        quota_cores: The workers' own quota; that of a control group above them holds as well.
        root: Of the file system.
    """
    own = os.sched_getaffinity(0)
    allowed = own & set(cores) if cores else own
    quotas = (quota for quota in (quota_cores, cpu_quota_cores(root)) if quota is not None)
    return max(1, min([len(allowed) or len(own), *map(math.ceil, quotas)]))
