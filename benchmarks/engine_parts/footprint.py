"""What an engine takes: memory, start and disk, by the agent's own workers, with one model in float.

Decides: what is read. Leaves out: the agent's other processes (`python -m benchmarks.footprint`).
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine_parts.interpreters import Device

PHASES = ("import_ms", "load_ms", "first_inference_ms")


@dataclass(frozen=True)
class Footprint:
    """Of one engine. Memory is the resident set of the whole worker [bytes], times are medians over processes [ms].

    bare_bytes: before the engine was imported. installed_bytes: the files of its package alone.
    """

    engine: str
    version: str
    numpy: str
    bare_bytes: int
    loaded_bytes: int
    peak_bytes: int
    import_ms: float
    load_ms: float
    first_inference_ms: float
    installed_bytes: int

    @property
    def start_ms(self) -> float:
        """From the worker's own beginning to its first answer; the interpreter's start comes before it."""
        return self.import_ms + self.load_ms + self.first_inference_ms


def footprint(engine: str, bundle: Path, device: Device, starts: int) -> Footprint:
    """Return what an engine takes.

    Raises:
        RuntimeError: A worker failed.
    """
    about = device.about(engine)
    memory = device.order(kind="memory", bundle_dir=bundle)
    loads = [device.order(kind="load", bundle_dir=bundle) for _ in range(starts)]
    if failed := [result for result in (memory, *loads) if result["outcome"] != "ok"]:
        raise RuntimeError(f"{engine}: {failed[0].get('error')}")
    phases = {name: round(statistics.median(each["phases"][name] for each in loads), 2) for name in PHASES}
    used = memory["memory"]
    sizes = {name: used[name] for name in ("loaded_bytes", "peak_bytes")}
    return Footprint(
        engine,
        about["version"],
        about["numpy"],
        used["baseline_bytes"],
        **sizes,
        **phases,
        installed_bytes=about["installed_bytes"],
    )
