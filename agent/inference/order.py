"""What every worker is told, measuring or serving, and how it takes that on before anything heavy is imported.

Light on purpose: the control process writes orders, and a serving worker loads little else of the protocol.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.errors import ConfigurationError, EngineFailed
from agent.inference.limits import apply_limits, kernel_folder
from agent.warm import ensure_warm, read_report
from wire.manifest import BundleManifest

HEARTBEAT_S = 1.0
HEARTBEAT_STACK_BYTES = 128 * 1024
"""The thread's stack counts against a memory cap, and the default is 8 MiB."""

COMPILING = "compiling"
"""The event of a heartbeat: (event, seconds so far)."""

LONGEST_COMPILE_S = 900.0
"""So long may something compile: then the heartbeat ends, and who waits takes the silence for a hang."""


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
    if order.memory_cap_bytes is None and read_report(kernel_folder(order.cache_dir)) is None:
        try:
            with heartbeat(say):
                ensure_warm(order.cache_dir)
        except EngineFailed as exc:
            say("not_warm", detail=str(exc))


@contextmanager
def heartbeat(say: Callable[..., None]) -> Iterator[None]:
    """Say once a second that something compiles, for as long as it does and may: who waits knows it from a hang."""
    done = threading.Event()

    def beat() -> None:
        seconds = 0.0
        while seconds < LONGEST_COMPILE_S and not done.wait(HEARTBEAT_S):
            seconds += HEARTBEAT_S
            say(COMPILING, seconds=seconds)

    usual_bytes = threading.stack_size(HEARTBEAT_STACK_BYTES)
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    try:
        thread.start()
    finally:
        threading.stack_size(usual_bytes)
    try:
        yield
    finally:
        done.set()
        thread.join()
