"""What a worker is asked to do, and what it answers: one order, one fresh process, one result file.

Light on purpose: the control process writes orders and reads results, and it never loads numpy.

    python -m agent.measure.worker ORDER.json
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.inference.order import WorkerOrder, refused
from wire.base import Message
from wire.canonical import Digest
from wire.trial import Golden, Grade, MemoryUse, Phases, Predictions, Profile, Replicate, Scenario, ScenarioSettings

Outcome = Literal["ok", "unfit", "incompatible", "failed"]


class BaseOrder(WorkerOrder):
    """An order that ends with a result in `result_path`."""

    result_path: Path


class RunOrder(BaseOrder):
    """Raw queries (n, …) in `inputs_path` -> raw model outputs (n, …), de-quantised float32, in `outputs_path`."""

    kind: Literal["run"] = "run"
    inputs_path: Path
    outputs_path: Path


class SelftestOrder(BaseOrder):
    """Golden inputs -> do the outputs agree? With the memory that it took."""

    kind: Literal["selftest"] = "selftest"


class LockStep(BaseModel):
    """With whom a process takes turns: both sides of a `round` of one `session` have the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: str
    round: int = Field(ge=0)


class MeasureOrder(BaseOrder):
    """One replicate. With `check_golden`, wrong golden outputs end it before anything is timed. With `lock_step` it is
    timed in turns, as its stdin says."""

    kind: Literal["measure"] = "measure"
    grade: Grade = "normal"
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = ScenarioSettings()
    order: int = Field(default=0, ge=0)
    check_golden: bool = True
    lock_step: LockStep | None = None


class MemoryOrder(BaseOrder):
    """Memory in a process of its own, as many queries at once as the scenario has; then, if given, the answers on the
    evaluation set in `evaluation_dir`, one by one."""

    kind: Literal["memory"] = "memory"
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = ScenarioSettings()
    evaluation_dir: Path | None = None
    evaluation: Digest | None = None


class LoadOrder(BaseOrder):
    """Load and answer once. `cold`: what the parent found as it dropped the files' pages from memory; kernels are then
    compiled in this process, into a `cache_dir` that is new."""

    kind: Literal["load"] = "load"
    cold: bool | None = None
    resident_ratio: float | None = Field(default=None, ge=0, le=1)
    compiles: bool = False


class ProfileOrder(BaseOrder):
    """What each operator type costs, by the engine's own profiler."""

    kind: Literal["profile"] = "profile"


Order = Annotated[
    RunOrder | SelftestOrder | MeasureOrder | MemoryOrder | LoadOrder | ProfileOrder, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[RunOrder | SelftestOrder | MeasureOrder | MemoryOrder | LoadOrder | ProfileOrder] = TypeAdapter(
    Order
)


class ResultError(Message):
    """Why an order did not come out well. `code` is a documented reason."""

    code: str
    detail: str = ""


class Result(Message):
    """What a worker leaves in `result_path`; fields that the order did not ask for are null."""

    outcome: Outcome
    error: ResultError | None = None
    engine: str = ""
    engine_version: str = ""
    samples: int | None = None
    golden: Golden | None = None
    memory: MemoryUse | None = None
    replicate: Replicate | None = None
    phases: Phases | None = None
    predictions: Predictions | None = None
    profile: Profile | None = None


def read_order(
    content: bytes | str,
) -> RunOrder | SelftestOrder | MeasureOrder | MemoryOrder | LoadOrder | ProfileOrder:
    """Return the order that `content` holds.

    Raises:
        ConfigurationError: Not an order; the text names the first faulty field.
    """
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as exc:
        raise refused(exc) from exc
