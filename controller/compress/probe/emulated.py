"""Run a variant on an emulated processor, and keep its outputs by content: emulation takes minutes.

Decides: what an emulated run's outputs depend on, how long one may take, and in which words it fails. Leaves out: what
the outputs are worth (`verdicts.py`).

    outputs = run_emulated(variant, queries, machine_of(PROCESSORS["haswell"]), cache)
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.compress.probe import engine_worker
from controller.compress.probe.emulator import Emulator, find
from controller.compress.probe.feeding import fed, read, unfit
from controller.compress.probe.processors import Processor, cpuinfo
from controller.compress.probe.programs import Programs, command, lay_out, programs_of, variables
from controller.compress.process.host import Host, on_host
from controller.compress.process.run import modules_digest
from controller.compress.variant import Variant
from controller.convert.digest import model_digest
from controller.convert.environments.runner import TIED
from controller.convert.environments.watch import Ending, last_lines, watch
from controller.errors import UnusableModel
from controller.models.samples import arrays_digest
from wire.spec import output_tensors

LONGEST_RUN_S = 4 * 3600.0
ENGINES = ("onnxruntime", "litert")
"""Those that an emulated processor has."""

_SOURCES = tuple(f"controller.compress.probe.{name}" for name in ("engine_worker", "feeding"))


@dataclass(frozen=True)
class Machine:
    """A processor with what emulates it and what it runs."""

    processor: Processor
    emulator: Emulator
    programs: Programs


@dataclass(frozen=True)
class Emulated:
    """What a run gave. outputs: as the agent gives them, float32, shape (n, …). kept: it was run before.

    version, here_version: of the engine, on the emulated processor and on this machine.
    """

    outputs: NDArray[np.float32]
    engine: str
    version: str
    here_version: str
    kept: bool


def machine_of(processor: Processor) -> Machine:
    """Return a processor with its emulator and its programs.

    Raises:
        EmulatorMissing: It is not installed, or does not know the processor.
        ProbeRootMissing: The processor's programs are not installed.
    """
    return Machine(processor, find(processor), programs_of(processor))


def run_emulated(variant: Variant, queries: NDArray[Any], machine: Machine, cache: PassCache) -> Emulated:
    """Return a variant's raw outputs for raw queries, each run alone and on one thread.

    Raises:
        UnusableModel: It cannot be run there: its engine, its pre-processing, a crash, or the engine's own words.
    """
    host = on_host(variant)
    _check(variant, host)
    key = cache_key(
        {
            "what": "emulated outputs",
            "model": model_digest(variant.format, variant.model_file),
            "pipeline": variant.pipeline.model_dump(mode="json"),
            "engine": [host.engine, dict(host.options)],
            "inputs": arrays_digest(queries),
            "processor": [machine.processor.name, cpuinfo(machine.processor)],
            "emulator": [machine.emulator.version, machine.emulator.model],
            "programs": machine.programs.identity,
            "source": modules_digest(*_SOURCES),
        }
    )
    entry = cache.get_or_make(key, lambda folder: _run(variant, host, queries, machine, folder))
    outputs = np.load(entry.folder / "outputs.npy", allow_pickle=False)
    return Emulated(outputs, host.engine, str(entry.facts["version"]), host.version, entry.hit)


def _check(variant: Variant, host: Host) -> None:
    if host.engine not in ENGINES:
        raise UnusableModel(f"no emulated processor has the engine {host.engine}: there are {' and '.join(ENGINES)}")
    if because := unfit(variant.pipeline):
        raise UnusableModel(f"{because}; it is not emulated")


def _run(variant: Variant, host: Host, queries: NDArray[Any], machine: Machine, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="probe-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        np.save(scratch / "inputs.npy", fed(variant.pipeline, queries), allow_pickle=False)
        tensors = output_tensors(variant.pipeline.post)
        order = {
            "engine": host.engine,
            "options": dict(host.options),
            "model": str(variant.model_file),
            "inputs": str(scratch / "inputs.npy"),
            "input": variant.pipeline.pre.input.name,
            "outputs": [tensor.name for tensor in tensors],
        }
        result = run_order(order, machine, scratch)
        arrays = [np.load(scratch / f"output-{place}.npy", allow_pickle=False) for place in range(len(tensors))]
    np.save(folder / "outputs.npy", read(variant.pipeline, arrays), allow_pickle=False)
    return {"variant": variant.name, "processor": machine.processor.name, "version": result["version"]}


def run_order(order: Mapping[str, Any], machine: Machine, scratch: Path) -> dict[str, Any]:
    """Let the emulated processor carry an order of `engine_worker.py` out.

    Args:
        order: Without `folder`, `site` and `result_path`.
        machine: The processor.
        scratch: A new folder.
    Raises:
        UnusableModel: It crashed, took too long or too much memory, or the engine refuses the model.
    """
    prefix, result_path = scratch / "prefix", scratch / "result.json"
    prefix.mkdir()
    lay_out(machine.processor, machine.programs, prefix)
    places = {"folder": str(scratch), "site": list(machine.programs.site), "result_path": str(result_path)}
    (scratch / "order.json").write_text(json.dumps({**order, **places}), encoding="utf-8")
    arguments = (engine_worker.__file__, str(scratch / "order.json"))
    wanted = command(machine.emulator, machine.programs, prefix, arguments)
    tied = [sys.executable, "-I", str(TIED), str(os.getpid()), *wanted]  # it ends with this process, however that ends
    with machine.programs.held():
        ending = watch(tied, variables(scratch), scratch, LONGEST_RUN_S, None)
    if because := failure(ending, machine.processor):
        raise UnusableModel(because)
    result: dict[str, Any] = json.loads(result_path.read_bytes()) if result_path.exists() else {}
    if result.get("outcome") != "ok":
        said = result.get("error") or f"it left no result; the last it said:{last_lines(ending.said)}"
        raise UnusableModel(f"on the emulated {machine.processor.name}: {said}")
    return result


def failure(ending: Ending, processor: Processor) -> str | None:
    """Return in words why an emulated program failed, or null where it did not."""
    name = f"the program on the emulated {processor.name}"
    if ending.killed is None and ending.code == -signal.SIGILL:
        return (
            f"{name} crashed: illegal instruction. It uses one that a {processor.name} does not have, or that the "
            f"emulator does not know; on the device the engine would crash as well, if it is the former"
        )
    because = ending.because(name)
    return f"{because}; the last it said:{last_lines(ending.said)}" if because else None
