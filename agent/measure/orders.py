"""What a worker is asked to do, and what it answers: one order, one fresh process, one result file.

Light on purpose: the control process writes orders and reads results, and it never loads numpy.

    python -m agent.measure.worker ORDER.json
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from agent.errors import ConfigurationError
from wire.base import Message
from wire.canonical import Digest
from wire.manifest import BundleManifest
from wire.trial import Golden, Grade, MemoryUse, Predictions, Replicate, Scenario

Outcome = Literal["ok", "unfit", "incompatible", "failed"]


class WorkerOrder(BaseModel):
    """What every worker is told, measuring or serving.

    The bundle is a folder with a `manifest.json` (`bundle_dir`), or a manifest given inline whose paths are relative
    to `root`. `memory_cap_by`: `rlimit` is applied by the worker before anything heavy is imported, `parent` says that
    the process which started the worker has seen to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    bundle_dir: Path | None = None
    manifest: BundleManifest | None = None
    root: Path | None = None
    threads: int = Field(default=1, ge=1, le=1024)
    affinity: tuple[int, ...] | None = None
    memory_cap_bytes: int | None = Field(default=None, gt=0)
    memory_cap_by: Literal["rlimit", "parent"] = "rlimit"
    cache_dir: Path | None = None

    @model_validator(mode="after")
    def _names_one_bundle(self) -> Self:
        inline = self.manifest is not None and self.root is not None
        if (self.bundle_dir is None) != inline or (self.manifest is None) != (self.root is None):
            raise ValueError("give either bundle_dir, or manifest and root")
        return self


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


class MeasureOrder(BaseOrder):
    """One replicate. With `check_golden`, wrong golden outputs end it before anything is timed."""

    kind: Literal["measure"] = "measure"
    grade: Grade = "normal"
    scenario: Scenario = "single_stream"
    order: int = Field(default=0, ge=0)
    check_golden: bool = True


class MemoryOrder(BaseOrder):
    """Memory in a process of its own; then, if given, the answers on the evaluation set in `evaluation_dir`."""

    kind: Literal["memory"] = "memory"
    evaluation_dir: Path | None = None
    evaluation: Digest | None = None


Order = Annotated[RunOrder | SelftestOrder | MeasureOrder | MemoryOrder, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[RunOrder | SelftestOrder | MeasureOrder | MemoryOrder] = TypeAdapter(Order)


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
    predictions: Predictions | None = None


def read_order(content: bytes | str) -> RunOrder | SelftestOrder | MeasureOrder | MemoryOrder:
    """Return the order that `content` holds.

    Raises:
        ConfigurationError: Not an order; the text names the first faulty field.
    """
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as exc:
        raise refused(exc) from exc


def refused(exc: ValidationError) -> ConfigurationError:
    """Return the error for content that is no order."""
    fault = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in fault["loc"]) or "document"
    return ConfigurationError(f"not a worker's order: {where}: {fault['msg']}")
