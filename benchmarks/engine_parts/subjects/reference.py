"""The reference models, each source in a copy of its folder.

Decides: that conversions of one source never meet those of another, and that the TensorFlow source of a reference model
is the same network written in Keras with the same weights (`keras_twin.py`). Leaves out: networks of other packages
(`packages.py`).
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from benchmarks.common import repository
from benchmarks.engine_parts.cells import SOURCES
from benchmarks.engine_parts.subjects import Subject
from controller.convert.environments import environment
from controller.models.folder import ModelFolder

REFERENCE = ("leaf_outline", "soil_carbon", "fashion")
TWIN = Path(__file__).with_name("keras_twin.py")
NO_TENSORFLOW = (
    "the Keras twin needs the converter environment tensorflow: run  controller model converters install tensorflow"
)

NOT_WRITTEN = "--quick makes nothing in a converter environment, and the Keras twin is written in one"


def reference_subjects(folder: Path, alone: bool) -> list[Subject]:
    """Return the reference models, copied below `folder`. alone: without converter environments."""
    return [
        Subject(name, {source: _copied(name, source, folder / name / source, alone) for source in SOURCES})
        for name in REFERENCE
    ]


def _copied(name: str, source: str, folder: Path, alone: bool) -> ModelFolder | str:
    """Return a fresh copy of a reference model for one of its sources, or why there is none."""
    if source == "tensorflow" and alone:
        return NOT_WRITTEN
    twin = _twin(name, folder.with_name("twin")) if source == "tensorflow" else None
    if source == "tensorflow" and twin is None:
        return NO_TENSORFLOW
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "conversions")
    shutil.copytree(repository() / "models" / name, folder, ignore=ignored)
    if twin is not None:
        shutil.copyfile(twin, folder / twin.name)
        with (folder / "model.yaml").open("a", encoding="utf-8") as file:
            file.write(f"tensorflow: {{model: {twin.name}}}\n")
    return ModelFolder.load(folder)


def _twin(name: str, folder: Path) -> Path | None:
    """Return the Keras file, written unless it is there; null without the environment. Keras writes no two alike."""
    found = environment("tensorflow")
    if found is None:
        return None
    state = repository() / "models" / name / f"{name}.safetensors"
    digest = hashlib.sha256(state.read_bytes() + TWIN.read_bytes() + repr(found.versions).encode()).hexdigest()
    place = folder / digest[:16]
    if not (place / f"{name}.keras").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (place / "partial").mkdir(parents=True)
        made = place / "partial" / f"{name}.keras"
        command = [str(found.python), "-P", str(TWIN), name, str(state), str(made)]
        subprocess.run(command, check=True, capture_output=True)
        made.rename(place / made.name)
    return place / f"{name}.keras"
