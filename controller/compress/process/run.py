"""Run a variant in the agent's own worker, on this machine, and keep its outputs by content.

Decides: what a run's outputs depend on. Leaves out: what they are worth (`controller/compress/evaluate.py`).
"""

import hashlib
import importlib.util
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.compress.process.host import on_host
from controller.compress.process.start import PassFailed, run_child
from controller.compress.variant import Variant
from controller.convert.digest import model_digest
from controller.convert.environments import Environment, run_worker
from controller.convert.signature import read_signature
from controller.errors import ConversionFailed, UnusableModel
from controller.models.preprocess import prepare
from controller.models.queries import as_queries
from controller.models.samples import arrays_digest
from wire.artifact import FileEntry
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, Format, GoldenSpec
from wire.spec import bundle_files, output_tensors

TOGETHER = "together"
"""A run's folder of copies; gone when it ends."""

PROGRAMS = "from_torch.run_program"
"""The worker that runs ExecuTorch's programs in a converter environment."""


@dataclass(frozen=True)
class EvaluationContext:
    """What all evaluations of one deploy share.

    `golden_inputs`: synthetic queries, run along with the evaluation set.
    """

    cache: PassCache
    golden_inputs: NDArray[Any]
    threads: int = 1
    kernel_cache: Path | None = None


def run_variant(variant: Variant, inputs: NDArray[Any], context: EvaluationContext) -> Path:
    """Return the `.npy` of a variant's raw outputs for raw queries: float32, shape (n, …), kept by content.

    Raises:
        UnusableModel: Nothing here runs it, or the worker failed; the text holds its reason.
    """
    host = on_host(variant)
    queries = as_queries(inputs, variant.pipeline.pre.kind)
    files = _named_files(variant)
    key = cache_key(
        {
            "what": "outputs",
            "model": model_digest(variant.format, variant.model_file),
            "pipeline": variant.pipeline.model_dump(mode="json"),
            "engine": [host.engine, host.version, dict(host.options)],
            "inputs": arrays_digest(queries),
            "worker": _worker_digest(),
            "threads": context.threads,
            "processor": _processor(),
            **({"files": {name: sha256_hex(path.read_bytes()) for name, path in files.items()}} if files else {}),
            **({"environment": host.environment.versions} if host.environment else {}),
        }
    )

    def make(folder: Path) -> dict[str, Any]:
        if host.environment is not None:
            return _run_program(variant, queries, folder, host.environment)
        asked = replace(variant, engine=host.engine, engine_options=host.options)
        return _run_worker(asked, queries, folder, context)

    return context.cache.get_or_make(key, make).folder / "outputs.npy"


def _run_worker(variant: Variant, queries: NDArray[Any], folder: Path, context: EvaluationContext) -> dict[str, Any]:
    inputs_path = folder / "inputs.npy"
    np.save(inputs_path, queries, allow_pickle=False)
    order: Mapping[str, Any] = {
        "kind": "run",
        "manifest": inline_manifest(variant).model_dump(mode="json", exclude_none=True),
        "root": str(_root(variant, folder)),
        "inputs_path": str(inputs_path),
        "outputs_path": str(folder / "outputs.npy"),
        "threads": context.threads,
        "cache_dir": str(context.kernel_cache) if context.kernel_cache else None,
    }
    try:
        result = run_child("agent.measure.worker", order, folder, variant.name)
    except PassFailed as exc:
        raise UnusableModel(f"the agent's worker, run on the controller: {exc.because}") from exc
    if result["outcome"] != "ok":
        error = result.get("error") or {}
        raise UnusableModel(f"{variant.name}: {error.get('code', result['outcome'])}: {error.get('detail', '')}")
    inputs_path.unlink()
    shutil.rmtree(folder / TOGETHER, ignore_errors=True)
    return {"variant": variant.name, "samples": len(queries)}


def _run_program(variant: Variant, queries: NDArray[Any], folder: Path, environment: Environment) -> dict[str, Any]:
    """Run the file in a converter environment, which has the engine without the agent."""
    inputs_path = folder / "inputs.npy"
    np.save(inputs_path, prepare(variant.pipeline.pre, queries), allow_pickle=False)
    order = {"program": str(variant.model_file), "inputs": str(inputs_path), "folder": str(folder)}
    try:
        result = run_worker(environment, PROGRAMS, order, folder)
    except ConversionFailed as exc:
        raise UnusableModel(f"{variant.name}: {exc}") from exc
    if result["outcome"] != "ok":
        raise UnusableModel(f"{variant.name}: {result['error']}")
    paths = [folder / name for name in result["outputs"]]
    np.save(folder / "outputs.npy", stacked(paths, _output_places(variant)), allow_pickle=False)
    for path in (inputs_path, *paths):
        path.unlink()
    return {"variant": variant.name, "samples": len(queries)}


def _output_places(variant: Variant) -> list[int]:
    """Return which of the file's outputs the pipeline reads, in its order."""
    names = [tensor.name for tensor in read_signature(variant.format, variant.model_file).outputs]
    return [names.index(tensor.name) for tensor in output_tensors(variant.pipeline.post)]


def stacked(paths: Sequence[Path], places: Sequence[int]) -> NDArray[Any]:
    """Return the outputs at these places, one behind the other as the agent gives them.

    Raises:
        UnusableModel: So many outputs were not given.
    """
    if max(places) >= len(paths):
        raise UnusableModel(f"output {max(places)} is read, and {len(paths)} outputs of real numbers were given")
    read = [np.load(paths[place], allow_pickle=False) for place in places]
    return read[0] if len(read) == 1 else np.concatenate([each.reshape(len(each), -1) for each in read], axis=1)


def _named_files(variant: Variant) -> dict[str, Path]:
    """Return the files that the variant's pipeline names, by their names."""
    root = variant.model_root
    return {} if root is None else {name: root / name for name in bundle_files(variant.pipeline).values()}


def _root(variant: Variant, folder: Path) -> Path:
    """Return where the model lies; where its pipeline names files, a folder in `folder` with copies of them all."""
    files = _named_files(variant)
    if not files:
        return variant.model_file.parent
    together = folder / TOGETHER
    for name, path in {variant.model_file.name: variant.model_file, **files}.items():
        (together / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, together / name)
    return together


def inline_manifest(variant: Variant) -> BundleManifest:
    """Return a manifest that names the variant's file where it lies, without golden arrays.

    For a run, not for a bundle.
    """
    content = variant.model_file.read_bytes()
    name = variant.model_file.name
    return BundleManifest(
        model="offline",
        model_version="0",
        kind="classification" if variant.pipeline.post.kind == "classification" else "regression",
        variant=variant.name,
        format=cast("Format", variant.format),
        engine=variant.engine,
        engine_options=dict(variant.engine_options),
        model_file=name,
        pipeline=variant.pipeline,
        golden=GoldenSpec(samples=1),
        files=(FileEntry(path=name, size_bytes=len(content), sha256=sha256_hex(content)),),
    )


def modules_digest(*names: str) -> str:
    """Return the digest of modules' sources, none of which is imported."""
    digest = hashlib.sha256()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


@cache
def _processor() -> str:
    """Return what tells processors apart whose integer kernels may differ: outputs are kept per processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return "|".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


def _worker_digest() -> str:
    """Return the digest of the agent's inference code, found as files: the controller imports none of it."""
    spec = importlib.util.find_spec("agent")
    if spec is None or spec.origin is None:
        raise UnusableModel(
            "the package `agent` is not installed here; the controller evaluates with the agent's worker"
        )
    digest = hashlib.sha256()
    for source in sorted((Path(spec.origin).parent / "inference").rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
