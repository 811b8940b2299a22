"""Every metric that the controller exports: its name, kind, labels and what it says.

Decides: names (base units: seconds, bytes, ratios from 0 to 1) and labels. No label names a device but those of
`PER_DEVICE`, which are told on request only and for a bounded number. Leaves out: values (`collector.py`).
"""

from dataclasses import dataclass
from typing import Literal

CLASS = ("fleet", "class")
WORKLOAD = ("fleet", "class", "workload")
ROLLOUT = ("fleet", "workload")


@dataclass(frozen=True)
class MetricKind:
    """One metric family. A counter's name ends in `_total`, and it begins at 0 with the process."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which its values are found."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_count", "_sum"))


_ALL = (
    MetricKind("thresher_build_info", "gauge", "Always 1; the release is its label.", ("version",)),
    MetricKind("thresher_broker_connected", "gauge", "1 while the broker is connected, else 0."),
    MetricKind("thresher_leader", "gauge", "1 while this process leads its workspace, else 0."),
    MetricKind("thresher_leader_epoch", "gauge", "Epoch under which this process leads; it rises with every leader."),
    MetricKind("thresher_engine_turns_total", "counter", "Turns of the thread that decides; it must not stand still."),
    MetricKind("thresher_database_writable", "gauge", "1 where the database took a write lock just now, else 0."),
    MetricKind("thresher_database_size_bytes", "gauge", "Size of the database file; absent for a database by URL."),
    MetricKind(
        "thresher_messages_total",
        "counter",
        "Messages from devices, by kind and by what became of them: taken, malformed, duplicate, refused, unserved.",
        ("kind", "result"),
    ),
    MetricKind("thresher_published_chunks_total", "counter", "Chunks and index pieces published, all artifacts."),
    MetricKind("thresher_published_bytes_total", "counter", "Bytes of chunks and index pieces published."),
    MetricKind("thresher_devices", "gauge", "Devices, by whether they are online.", (*CLASS, "state")),
    MetricKind("thresher_devices_simulated", "gauge", "Devices whose numbers are drawn, not measured.", ("fleet",)),
    MetricKind("thresher_last_seen_age_seconds", "gauge", "Since the most silent online device was heard.", CLASS),
    MetricKind("thresher_workload_devices", "gauge", "Devices, by the state of a workload.", (*WORKLOAD, "state")),
    MetricKind("thresher_temperature_max_celsius", "gauge", "The hottest online device, as it last told.", CLASS),
    MetricKind("thresher_throttled_devices", "gauge", "Online devices that throttle, as they last told.", CLASS),
    MetricKind("thresher_worker_memory_max_bytes", "gauge", "The largest serving worker, as last told.", WORKLOAD),
    MetricKind("thresher_queries_total", "counter", "Queries that reached a worker.", WORKLOAD),
    MetricKind("thresher_query_errors_total", "counter", "Of them, those that the bundle could not answer.", WORKLOAD),
    MetricKind("thresher_queries_lost_total", "counter", "Queries lost for reasons outside of the bundle.", WORKLOAD),
    MetricKind("thresher_worker_restarts_total", "counter", "Crashed workers that were started again.", WORKLOAD),
    MetricKind(
        "thresher_inference_duration_seconds",
        "histogram",
        "Time of a query in the worker, pre- and post-processing included; from sketches, within 1 % of each value.",
        WORKLOAD,
    ),
    MetricKind("thresher_rollouts", "gauge", "Rollouts that ever were, by state.", (*ROLLOUT, "state")),
    MetricKind("thresher_rollout_wave", "gauge", "Wave that the newest rollout stands in; the first is 0.", ROLLOUT),
    MetricKind("thresher_rollout_age_seconds", "gauge", "Since the newest rollout was created.", ROLLOUT),
    MetricKind("thresher_rollout_idle_seconds", "gauge", "Since the newest rollout last changed.", ROLLOUT),
    MetricKind("thresher_rollout_devices", "gauge", "The newest rollout's devices, by outcome.", (*ROLLOUT, "outcome")),
    MetricKind(
        "thresher_rollout_failure_ratio",
        "gauge",
        "Failed / (committed + failed) of the newest rollout; absent before any device ended.",
        ROLLOUT,
    ),
    MetricKind("thresher_deployments", "gauge", "Deployments that ever were, by stage.", (*ROLLOUT, "stage")),
    MetricKind("thresher_snapshot_duration_seconds", "gauge", "How long reading the database for this took."),
    MetricKind("thresher_device_online", "gauge", "1 where the device is online, else 0.", ("fleet", "device")),
    MetricKind("thresher_device_last_seen_age_seconds", "gauge", "Since the device was heard.", ("fleet", "device")),
    MetricKind("thresher_device_temperature_celsius", "gauge", "As the device last told.", ("fleet", "device")),
    MetricKind("thresher_devices_left_out", "gauge", "Devices beyond the limit of those told by name.", ("fleet",)),
)  # fmt: skip

CATALOGUE = {each.name: each for each in _ALL}
"""name -> the metric."""
PER_DEVICE = tuple(each.name for each in _ALL if "device" in each.labels)
"""Metrics that are told of each device, where that is asked for."""
