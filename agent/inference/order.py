"""What every worker is told, measuring or serving, and how it takes that on before anything heavy is imported.

Light on purpose: the control process writes orders, and a serving worker loads little else of the protocol.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.errors import ConfigurationError, EngineFailed
from agent.inference.limits import apply_limits
from agent.warm import ensure_warm
from wire.manifest import BundleManifest


class WorkerOrder(BaseModel):
    """What every worker is told.

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


def refused(exc: ValidationError) -> ConfigurationError:
    """Return the error for content that is no order."""
    fault = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in fault["loc"]) or "document"
    return ConfigurationError(f"not a worker's order: {where}: {fault['msg']}")


def prepare_process(order: WorkerOrder, say: Callable[..., None]) -> None:
    """Impose the order's limits, and compile the kernels first where nobody has.

    A capped worker does not compile: the compiler would count against its cap. Without compiled kernels numba takes
    over, slower to start and larger.

    Raises:
        ConfigurationError: A limit cannot be imposed.
    """
    apply_limits(order.threads, order.affinity, order.memory_cap_bytes, order.memory_cap_by, order.cache_dir)
    if order.memory_cap_bytes is None:
        try:
            ensure_warm(order.cache_dir)
        except EngineFailed as exc:
            say("not_warm", detail=str(exc))
