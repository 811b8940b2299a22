"""The store: complete artifacts only, the same bytes under the same digest."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from controller.bundle import artifacts
from controller.bundle.artifacts import ArtifactStore
from controller.bundle.atomic import write_synced
from controller.bundle.pack import pack_dataset
from controller.errors import DiskFull, NotFound, UnusableData
from wire.artifact import ChunkIndex
from wire.base import decode
from wire.canonical import sha256_hex
from wire.manifest import DatasetManifest

INPUTS = np.random.default_rng(0).normal(size=(40, 1, 500)).astype(np.float32)
LABELS = np.arange(40) % 3


def test_what_is_packed_is_found_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    packed = pack_dataset("outlines", "classification", INPUTS, LABELS, store)
    again = ArtifactStore(tmp_path)
    assert again.digests() == (packed.digest,)
    assert again.manifest(packed.digest) == packed.manifest
    assert isinstance(packed.manifest, DatasetManifest)
    assert sha256_hex((store.folder(packed.digest) / "manifest.json").read_bytes()) == packed.digest
    for file in packed.manifest.files:
        assert sha256_hex((store.folder(packed.digest) / file.path).read_bytes()) == file.sha256
    assert np.array_equal(np.load(store.folder(packed.digest) / "inputs.npy"), INPUTS)


def test_the_reference_leads_to_every_byte(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    ref = pack_dataset("outlines", "classification", INPUTS, LABELS, store).ref
    content = b"".join(store.piece(ref.digest, piece) for piece in ref.index)
    index = decode(ChunkIndex, content)
    assert len(content) == ref.index_bytes
    assert index == store.index(ref.digest)
    assert all(sha256_hex(store.chunk(ref.digest, chunk.id)) == chunk.id for chunk in index.chunks)
    assert ref.wire_bytes == sum({chunk.id: chunk.wire_bytes for chunk in index.chunks}.values())
    assert ref.size_bytes == sum(chunk.plain_bytes for chunk in index.chunks)


def test_the_same_content_packed_twice_is_one_artifact(tmp_path: Path) -> None:
    first = pack_dataset("outlines", "classification", INPUTS, LABELS, ArtifactStore(tmp_path / "a"))
    second = pack_dataset("outlines", "classification", INPUTS, LABELS, ArtifactStore(tmp_path / "b"))
    third = pack_dataset("outlines", "classification", INPUTS, LABELS, ArtifactStore(tmp_path / "a"))
    assert first.ref == second.ref == third.ref
    other = pack_dataset("outlines", "classification", INPUTS + 1, LABELS, ArtifactStore(tmp_path / "a"))
    assert other.digest != first.digest


def test_labels_may_stay_at_home(tmp_path: Path) -> None:
    packed = pack_dataset("outlines", "classification", INPUTS, None, ArtifactStore(tmp_path))
    assert isinstance(packed.manifest, DatasetManifest)
    assert packed.manifest.labels is None
    assert [file.path for file in packed.manifest.files] == ["inputs.npy"]


@pytest.mark.parametrize(("inputs", "labels"), [(INPUTS[:0], LABELS[:0]), (INPUTS, LABELS[:5])])
def test_a_set_without_samples_or_with_other_labels_is_refused(
    inputs: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(UnusableData, match="data set outlines"):
        pack_dataset("outlines", "classification", inputs, labels, ArtifactStore(tmp_path))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    digest = pack_dataset("outlines", "classification", INPUTS, LABELS, store).digest
    with pytest.raises(NotFound, match="no artifact 000000000000"):
        store.folder("0" * 64)
    with pytest.raises(NotFound, match="no artifact"):
        store.folder("..")
    with pytest.raises(NotFound, match="has no chunk"):
        store.chunk(digest, "../manifest.json")
    with pytest.raises(NotFound, match="has no piece"):
        store.piece(digest, "0" * 64)


@pytest.mark.parametrize("after", [0, 2])
def test_a_full_disk_leaves_nothing(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        if len(written) >= after:
            raise OSError(errno.ENOSPC, "full")
        written.append(path)
        original(path, content)

    original = write_synced
    monkeypatch.setattr(artifacts, "write_synced", write)
    with pytest.raises(DiskFull, match="no room"):
        pack_dataset("outlines", "classification", INPUTS, LABELS, ArtifactStore(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_pack_leaves_no_artifact(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; import numpy as np\n"
        "from controller.bundle import artifacts; from controller.bundle.pack import pack_dataset\n"
        "artifacts.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = artifacts.ArtifactStore(Path(sys.argv[1]))\n"
        "pack_dataset('outlines', 'classification', np.zeros((4, 2), np.float32), None, store)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    store = ArtifactStore(tmp_path)
    assert list(tmp_path.iterdir()) == []
    packed = pack_dataset("outlines", "classification", np.zeros((4, 2), np.float32), None, store)
    assert store.digests() == (packed.digest,)
