"""Plans and trials: which variants a device is asked to measure, and the record of one trial.

The record keeps every raw sample; a number without its conditions is not a result.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from wire.artifact import ArtifactRef
from wire.base import Message, Name, ShortText
from wire.canonical import Digest
from wire.errors import MalformedMessage
from wire.update import Window

RECORD_SCHEMA = 2
LARGEST_SAMPLES = 2_000_000

Scenario = Literal["single_stream", "multi_stream", "offline", "server", "paced"]
Grade = Literal["quick", "normal", "ranking"]


class ScenarioSettings(Message):
    """How queries come, after MLPerf Inference's scenarios; each scenario reads what concerns it.

    `single_stream`: one query after the other, latency of each. `multi_stream`: `streams` queries at once, latency of
    all of them together. `offline`: at least `queries`, as many of them at once as `batch` says, queries per second and
    the latency of each batch. `server`: arrivals of a Poisson process at `rate_hz`, latency from the arrival, so that
    waiting counts. `paced`: one query every `period_ms`, since an idle processor lowers its clock between them; latency
    from the moment when it was due.
    """

    batch: int = Field(default=1, ge=1, le=1024)
    """Queries that the engine is given at once, where the model's batch axis is free."""
    streams: int = Field(default=8, ge=1, le=256)
    queries: int = Field(default=256, ge=1, le=100_000)
    rate_hz: float | None = Field(default=None, gt=0, le=1e6)
    """Null: half of the rate at which single-stream queries would fill the device, found while warming up."""
    period_ms: float = Field(default=100.0, gt=0, le=60_000)
    bound_ms: float | None = Field(default=None, gt=0)
    """Latency that a server or paced query should keep; the share that does not is reported."""
    seed: int = Field(default=1, ge=0)
    """Of the arrivals."""


class TrialRequest(Message):
    """One variant to be measured. Requests of one `group` are interleaved; `control` marks the fp32 baseline."""

    trial: Name
    workload: Name
    bundle: ArtifactRef
    variant: str = Field(max_length=128)
    format: str = Field(max_length=32)
    engine: str = Field(max_length=32)
    evaluation: ArtifactRef | None = None
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = ScenarioSettings()
    grade: Grade = "normal"
    threads: int | None = Field(default=None, ge=1, le=256)
    """Null: the device's own."""
    profile: bool = False
    """Measure the operators as well, in a process of their own."""
    group: str = Field(default="", max_length=64)
    control: bool = False


class PlanPolicy(Message):
    """How to measure on a device that serves."""

    serving: Literal["pause", "coexist"] = "pause"
    longest_pause_s: float = Field(default=300.0, gt=0)
    window: Window | None = None


class Plan(Message):
    """The trials asked of a device; retained, signed. A newer `plan_gen` replaces the older one whole."""

    fleet: Name
    device: Name
    plan_gen: int = Field(ge=1)
    epoch: int = Field(ge=1)
    trials: tuple[TrialRequest, ...] = Field(default=(), max_length=200)
    policy: PlanPolicy = PlanPolicy()
    issued_s: float = Field(ge=0)
    expires_s: float = Field(gt=0)


class Samples(Message):
    """Raw integer samples, compressed: zlib over little-endian int64, base64."""

    encoding: Literal["zlib+i8le"] = "zlib+i8le"
    count: int = Field(ge=0, le=LARGEST_SAMPLES)
    data: str

    @classmethod
    def pack(cls, values: Sequence[int]) -> "Samples":
        raw = struct.pack(f"<{len(values)}q", *values)
        return cls(count=len(values), data=base64.b64encode(zlib.compress(raw, 6)).decode())

    def unpack(self) -> list[int]:
        """Return the samples.

        Raises:
            MalformedMessage: The data is not `count` integers.
        """
        try:
            stream = zlib.decompressobj()
            raw = stream.decompress(base64.b64decode(self.data, validate=True), 8 * self.count + 1)
        except (zlib.error, binascii.Error, ValueError) as exc:
            raise MalformedMessage(f"samples cannot be unpacked: {exc}") from exc
        if len(raw) != 8 * self.count:
            raise MalformedMessage(f"samples hold {len(raw)} bytes or more, {8 * self.count} were announced")
        return list(struct.unpack(f"<{self.count}q", raw))


class Phases(Message):
    """One process from its start to its first answer [ms]; null where a phase did not happen."""

    import_ms: float | None = None
    compile_ms: float | None = None
    load_ms: float | None = None
    first_inference_ms: float | None = None
    warm_up_ms: float | None = None
    warm_up_runs: int | None = None
    kernels: str = Field(default="", max_length=64)
    cold: bool | None = None
    """Whether the bundle's pages had been dropped from memory; null: nobody looked. `cache_misses` tells compiling."""
    resident_ratio: float | None = Field(default=None, ge=0, le=1)
    """Of the pages of the bundle's, the engine's and the kernels' files: those in memory as loading began."""
    cache_hits: int | None = None
    """Kernels and compiled engines that were found ready."""
    cache_misses: int | None = None
    """Those that were compiled in this process: 0 in every timed one."""


class Replicate(Message):
    """One fresh process: its phases, conditions and samples, warm-up removed. Times per sample [ns].

    A sample is one query, or the mean of several short ones; in `multi_stream` all streams together, in `offline` one
    batch.

    One flagged `replaced` was doubtful and measured again: it is kept to be looked at, and counts in no number.
    """

    order: int = Field(ge=0)
    total_ns: Samples
    pre_ns: Samples
    infer_ns: Samples
    post_ns: Samples
    warm_up_ns: Samples
    cpu_ns: Samples | None = None
    """Processor time of each sample, all threads."""
    wait_ns: Samples | None = None
    """`server`, `paced`: from a query's arrival to its start; part of `total_ns`."""
    queries_per_second: float | None = Field(default=None, ge=0)
    """`offline` and `server`: what was answered."""
    over_bound_ratio: float | None = Field(default=None, ge=0, le=1)
    phases: Phases = Phases()
    conditions: dict[str, Any] = Field(default_factory=dict)
    flags: tuple[str, ...] = Field(default=(), max_length=64)


class MemoryUse(Message):
    """Memory of a run of its own [bytes]. `by` names the peak's source: `cgroup_v2`, `vm_hwm`, `vm_hwm_since_exec`."""

    baseline_bytes: int = Field(ge=0)
    loaded_bytes: int = Field(ge=0)
    peak_bytes: int = Field(ge=0)
    by: str = Field(max_length=32)
    anonymous_bytes: int | None = Field(default=None, ge=0)
    """At the end: what cannot be dropped. `file_bytes`: pages of files, which can."""
    file_bytes: int | None = Field(default=None, ge=0)
    loaded_pss_bytes: int | None = Field(default=None, ge=0)
    """Proportional set size once all is loaded: pages that processes share are divided among them."""
    loaded_uss_bytes: int | None = Field(default=None, ge=0)
    """Unique set size then: what would be free if this process ended."""


class Energy(Message):
    """Energy of the queries, from a sensor: mean power times time, less the idle power [J, W, s]."""

    source: str = Field(max_length=64)
    seconds: float = Field(gt=0)
    queries: int = Field(ge=1)
    mean_w: float
    idle_w: float
    joules: float
    """Above idle, all queries together."""
    joules_per_query: float


class OperatorCost(Message):
    """What the operators of one type cost, per query."""

    operator: str = Field(max_length=128)
    calls: int = Field(ge=0)
    total_ns: float = Field(ge=0)
    share_ratio: float = Field(ge=0, le=1)


class Profile(Message):
    """Where the inference's time goes, by operator type, the dearest first. Measured with the engine's own profiler.

    Profiling slows the engine down: `overhead_ratio` says by how much, and its times rank operators, not variants.
    """

    engine: str = Field(max_length=32)
    queries: int = Field(ge=1)
    operators: tuple[OperatorCost, ...] = Field(max_length=200)
    overhead_ratio: float | None = None
    note: ShortText = ""


class Predictions(Message):
    """What the device answered on the evaluation set, sample by sample, so that the controller can judge in pairs.

    `classes` for classification (arg max per sample), `values` (zlib over little-endian float32, base64; row-major,
    `width` numbers a sample) for the rest.
    """

    evaluation: Digest
    samples: int = Field(ge=0)
    classes: Samples | None = None
    values: str | None = None
    width: int | None = Field(default=None, ge=1)


class Golden(Message):
    """How the golden outputs came out."""

    passed: bool
    samples: int = Field(ge=0)
    max_abs_difference: float | None = None
    top1_agreement_ratio: float | None = None
    detail: ShortText = ""


class Flag(Message):
    """A reason to doubt a trial, with what to do about it. `void` flags make the trial's speed unusable."""

    reason: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    remedy: ShortText = ""
    void: bool = False


class Validity(Message):
    """Whether the speed may be used, and why not; each reason with its remedy stands in `flags`."""

    valid: bool
    reasons: tuple[str, ...] = Field(default=(), max_length=64)


class TrialRecord(Message):
    """One variant measured on one device.

    `cold_loads` and `warm_loads` are the phases of processes that only loaded: with the bundle's pages dropped from
    memory, and right after that.
    """

    schema_version: int = RECORD_SCHEMA
    fleet: Name
    device: Name
    trial: Name
    plan_gen: int = Field(ge=0)
    workload: Name
    bundle: Digest
    variant: str = Field(max_length=128)
    control: bool = False
    engine: str = Field(max_length=32)
    engine_version: str = Field(default="", max_length=64)
    engine_options: dict[str, Any] = Field(default_factory=dict)
    threads: int = Field(default=1, ge=1)
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = ScenarioSettings()
    grade: Grade = "normal"
    outcome: Literal["measured", "unfit", "incompatible", "failed"]
    error: ShortText = ""
    replicates: tuple[Replicate, ...] = Field(default=(), max_length=100)
    memory: MemoryUse | None = None
    energy_j: float | None = None
    """Energy of one query above idle [J]; null where no sensor gives it. `energy` has how it was found."""
    energy: Energy | None = None
    profile: Profile | None = None
    cold_loads: tuple[Phases, ...] = Field(default=(), max_length=20)
    warm_loads: tuple[Phases, ...] = Field(default=(), max_length=20)
    validity: Validity | None = None
    predictions: Predictions | None = None
    golden: Golden | None = None
    conditions: dict[str, Any] = Field(default_factory=dict)
    flags: tuple[Flag, ...] = Field(default=(), max_length=64)
    emulated: bool = False
    agent_version: str = Field(default="", max_length=32)
    started_s: float = Field(default=0.0, ge=0)
    wall_s: float = Field(default=0.0, ge=0)
    serving_lost_s: float = Field(default=0.0, ge=0)


class TrialPart(Message):
    """A slice of a record's zlib-compressed canonical bytes; parts are put together by number, then verified."""

    trial: Name
    part: int = Field(ge=0, lt=1000)
    parts: int = Field(ge=1, le=1000)
    sha256: Digest
    data: str = Field(max_length=90_000)
