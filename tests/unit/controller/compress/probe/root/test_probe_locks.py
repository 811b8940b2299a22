"""The locks of the root: what they must say, and that those which are shipped say it."""

import re

import pytest

from controller.compress.probe.root.locks import Package, RootLocks, read_packages, root_locks
from tools.lock import lock_path, pins

DIGEST = "52" * 32
LINE = f"pool/main/z/zlib/zlib1g_1.2.13_arm64.deb 82744 sha256:{DIGEST}"


def test_a_lock_is_read() -> None:
    release, packages = read_packages(f"# what it is\n# release: bookworm\n\n{LINE}\n")
    assert release == "bookworm"
    assert packages == (Package("pool/main/z/zlib/zlib1g_1.2.13_arm64.deb", 82744, DIGEST),)
    assert packages[0].name == "zlib1g_1.2.13_arm64.deb"


@pytest.mark.parametrize(
    "line", ["zlib1g 1.2.13", LINE.replace("sha256:", "md5:"), LINE + "0", LINE.replace(" 82744", ""), "../a.deb 1"]
)
def test_a_line_without_a_digest_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no package of a mirror, its size and its digest: '"):
        read_packages(f"# release: bookworm\n{line}\n")


def test_a_lock_without_a_release_is_refused() -> None:
    with pytest.raises(ValueError, match="# release: NAME"):
        read_packages(LINE)


def test_the_digest_follows_what_is_installed() -> None:
    locks = root_locks()
    fewer = RootLocks(locks.release, locks.packages[1:], locks.wheels)
    assert re.fullmatch(r"[0-9a-f]{64}", locks.digest)
    assert locks.digest != fewer.digest


def test_the_shipped_locks_are_for_arm_and_name_each_package_once() -> None:
    locks = root_locks()
    names = [each.name.split("_")[0] for each in locks.packages]
    assert {"libc6", "libstdc++6", "python3.11-minimal", "libpython3.11-stdlib"} <= set(names)
    assert len(names) == len(set(names))
    assert all(each.path.endswith("_arm64.deb") for each in locks.packages)
    assert 50e6 < locks.download_bytes < 200e6
    assert locks.wheels.imports == ["numpy", "onnxruntime", "ai_edge_litert.interpreter"]


def test_the_engines_are_the_versions_that_everybody_runs() -> None:
    everybody = set(pins(lock_path("dev", "3.11").read_text()))
    own = pins(root_locks().wheels.text)
    assert [pin.split("==")[0] for pin in own] == ["ai-edge-litert", "numpy", "onnxruntime"]
    assert set(own) <= everybody
