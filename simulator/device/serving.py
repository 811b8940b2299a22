"""A virtual worker: it answers queries that nobody asks, in times that are drawn, and counts them as the agent does.

Decides: how many of an interval's queries are drawn one by one. Leaves out: the distributions (`simulator/draw.py`).
"""

import itertools
from random import Random

from simulator.classes import SimulatedClass
from simulator.device.site import Site
from simulator.draw import Traits, bundle_median_ms, failure_of, process_median_ms, query_ms, shares_of
from wire.manifest import BundleManifest
from wire.sketch import Sketch, SketchData
from wire.telemetry import WorkloadMetrics

MOST_DRAWN = 24
"""Queries of an interval that are drawn; each stands for as many as it must."""
MOST_BUCKETS = 32
ERROR_RATIO = 0.2
"""Of the queries of a bundle that a failing device answers with errors."""
INFER_RATIO = 0.8
BASE_RSS_BYTES = 60_000_000


class VirtualServing:
    """What serves for one workload on one device."""

    def __init__(self, site: Site, device: str, cls: SimulatedClass, traits: Traits) -> None:
        self._site, self._device, self._cls, self._traits = site, device, cls, traits
        self._intervals = itertools.count()
        self.bundle: str | None = None

    def take(self, workload: str, interval_s: float) -> WorkloadMetrics | None:
        """Return what was counted in the last `interval_s`; null where nothing serves."""
        queries = round(self._cls.queries_per_second * interval_s)
        if self.bundle is None:
            return None
        seed = self._site.settings.seed
        chance = Random(f"{seed}/{self._device}/{self.bundle}/{next(self._intervals)}")
        fails = self._traits.failing and failure_of(seed, self._device, self.bundle) == "errors"
        errors = round(queries * ERROR_RATIO) if fails else 0
        manifest = self._site.library.named(self.bundle)
        bundle = manifest if isinstance(manifest, BundleManifest) else None
        latency = self._latencies(chance, queries - errors, bundle)
        fields = {
            "workload": workload,
            "active": self.bundle,
            "queries": queries,
            "answered": queries - errors,
            "arrived": queries,
            "errors": errors,
            "errors_by_reason": {"engine_failed": errors} if errors else {},
            "worker_rss_bytes": BASE_RSS_BYTES + 3 * size_bytes(bundle),
            "predictions": self._predictions(chance, queries - errors, bundle),
            **latency,
        }
        return WorkloadMetrics.model_validate({name: each for name, each in fields.items() if each not in (0, {})})

    def _latencies(self, chance: Random, answered: int, bundle: BundleManifest | None) -> dict[str, SketchData]:
        if answered < 1:
            return {}
        model, seed = self._cls.latency, self._site.settings.seed
        typical = self._traits.pace * bundle_median_ms(seed, model, self.bundle or "", max(1, size_bytes(bundle)))
        median = process_median_ms(chance, model, typical)
        drawn = min(answered, MOST_DRAWN)
        whole, infer = Sketch(), Sketch()
        for number in range(drawn):
            times = answered // drawn + (number < answered % drawn)
            took_ms = query_ms(chance, model, median)
            whole.add(took_ms, times)
            infer.add(INFER_RATIO * took_ms, times)
        return {"latency_ms": whole.data(MOST_BUCKETS), "infer_ms": infer.data(MOST_BUCKETS)}

    def _predictions(self, chance: Random, answered: int, bundle: BundleManifest | None) -> dict[str, int]:
        labels = getattr(bundle.pipeline.post, "labels", ()) if bundle is not None else ()
        return shares_of(chance, labels, answered) if labels and answered > 0 else {}


def size_bytes(bundle: BundleManifest | None) -> int:
    """Return the size of a bundle's files [bytes]."""
    return sum(file.size_bytes for file in bundle.files) if bundle is not None else 0
