"""Every lock that a device installs resolves to wheels for aarch64, and holds their digests.

The package index is asked which wheels it has (metadata alone, no wheel is downloaded); where none answers, the tests
that need it are skipped. Wheels for a C library newer than Debian 10's (manylinux_2_28) do not count.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tools.lock import VERSIONS, all_names, lock_path, pins

NOT_FOR_DEVICES = frozenset({"bench", "broker", "controller", "data", "demo", "dev", "train"})
APART = frozenset({"tflite-runtime"})
"""It agrees with no other lock: numpy below 2, one Python, and a wheel for a newer C library (manylinux_2_34)."""
DEVICE_LOCKS = tuple(name for name in all_names() if name not in NOT_FOR_DEVICES | APART)
"""A new extra is taken for one of a device's unless it is named above."""

PLATFORM = "aarch64-manylinux_2_28"
X86_ONLY = "litert-converter==0.5.0"
UNREACHABLE = re.compile(r"failed to fetch|error sending request|dns error|network|timed out|connection", re.IGNORECASE)
PATIENCE = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_RETRIES": "0"}


class Index:
    """The package index, asked through uv: it filters by platform and Python as an installation does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._away = ""
        self._found: dict[str, dict[str, set[str]]] = {}

    def of_devices(self, version: str) -> dict[str, set[str]]:
        """Return the wheels of all devices' locks for one Python, asked for together: the locks agree on versions."""
        if version not in self._found:
            locks = [lock_path(name, version) for name in DEVICE_LOCKS]
            wanted = {pin for lock in locks if lock.is_file() for pin in pins(lock.read_text())}
            self._found[version] = self.wheels(sorted(wanted), version)
        return self._found[version]

    def wheels(self, wanted: Iterable[str], version: str) -> dict[str, set[str]]:
        """Return `name==version` -> SHA-256 of each wheel that an aarch64 device with Python `version` can take.

        Raises:
            LookupError: A package has none; the text is the resolver's.
        """
        if self._away:
            pytest.skip(self._away)
        requirements = self._folder / "requirements.txt"
        requirements.write_text("\n".join(wanted))
        answer = self._folder / "pylock.toml"
        answer.unlink(missing_ok=True)
        command = [_uv(), "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:", "--format", "pylock.toml"]
        command += ["--python-platform", PLATFORM, "--python-version", version, "--output-file", str(answer)]
        done = subprocess.run(
            [*command, str(requirements)], capture_output=True, text=True, env={**os.environ, **PATIENCE}, check=False
        )
        if done.returncode == 0:
            return offered(answer.read_text())
        if UNREACHABLE.search(done.stderr):
            self._away = f"no package index answers: {' '.join(done.stderr.split())[:300]}"
            pytest.skip(self._away)
        raise LookupError(done.stderr)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index(tmp_path_factory.mktemp("index"))


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def offered(pylock: str) -> dict[str, set[str]]:
    """Return `name==version` -> digests of the wheels in a pylock.toml."""
    packages = tomllib.loads(pylock)["packages"]
    return {
        f"{each['name']}=={each['version']}": {wheel["hashes"]["sha256"] for wheel in each.get("wheels", ())}
        for each in packages
    }


def lacking(lock: str, wheels: Mapping[str, set[str]]) -> list[str]:
    """Return the packages of a lock that no device could install with `--require-hashes`, each with the reason."""
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    locked = {pin: set(re.findall(r"--hash=sha256:([0-9a-f]{64})", block)) for block in blocks for pin in pins(block)}
    return [f"{pin}: {_reason(wheels.get(pin, set()))}" for pin in locked if not wheels.get(pin, set()) & locked[pin]]


def _reason(wheels: set[str]) -> str:
    return "the lock holds no digest of a wheel for aarch64" if wheels else "no wheel for aarch64"


def test_devices_have_locks_for_every_python() -> None:
    assert {"base", "kernels", "litert", "onnxruntime", "pi"} <= set(DEVICE_LOCKS)
    paths = [lock_path(name, version) for name in DEVICE_LOCKS for version in VERSIONS]
    assert [path for path in paths if not path.is_file()] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DEVICE_LOCKS)
def test_a_device_can_install_the_lock(index: Index, name: str, version: str) -> None:
    lock = lock_path(name, version)
    assert lacking(lock.read_text(), index.of_devices(version)) == []


def test_a_package_without_a_wheel_for_aarch64_does_not_resolve(index: Index) -> None:
    with pytest.raises(LookupError, match="litert-converter"):
        index.wheels([X86_ONLY], "3.11")


def test_a_lock_without_the_digest_of_the_wheel_is_lacking() -> None:
    digests = "".join(f" \\\n    --hash=sha256:{letter * 64}" for letter in "ab")
    lock = f"numpy==2.4.6{digests}\n    # via numba\nnumba==1 \\\n"
    assert lacking(lock, {"numpy==2.4.6": {"b" * 64}, "numba==1": {"c" * 64}}) == [
        "numba==1: the lock holds no digest of a wheel for aarch64"
    ]
    assert lacking(lock, {"numpy==2.4.6": {"c" * 64}}) == [
        "numpy==2.4.6: the lock holds no digest of a wheel for aarch64",
        "numba==1: no wheel for aarch64",
    ]
