"""Resolve one hash-checked lock per extra and Python version: `python -m tools.lock [--upgrade] [NAME ...]`.

Decides: which locks there are, and that they agree: the largest is resolved first and the others prefer its versions.
Those of converter environments (`converters/NAME`) follow no other: each is alone in its environment. `probe/NAME` is
the wheels of an emulated processor, in everybody's versions. Leaves out:
installing them (`tools/environment.py`, `controller model converters install`). Versions already locked are kept unless
`--upgrade` is given.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
VERSIONS = ("3.11", "3.12", "3.13")
ONLY_ON = {"tflite-runtime": ("3.11",), "train": ("3.11",)}
"""Extras whose packages have wheels, or were tried, on these versions alone."""

CONVERTERS = {
    "converters/torch": ("3.11",),
    "converters/nvidia": ("3.11",),
    "converters/onnx2tf": ("3.12", "3.13"),
    "converters/tensorflow": ("3.11",),
}
"""Converter environments, made from the `.in` beside each lock, and the Python versions that they run on.

`nvidia` is no environment: it is what the registry's torch needs besides, where the CPU build is not at hand."""

PROBES = {"probe/aarch64": ("3.11",)}
"""Wheels for `controller model probe`, of the `.in` beside each lock alone, without what those need."""

WITHOUT = ("executorch",)
"""Extras whose metadata asks for packages in vain: the `.overrides.in` beside the lock leaves those out. pip reads no
overrides, so such a lock, which has all that is needed, is installed with --no-deps."""

CPU_BUILDS = LOCKS / "torch-cpu.txt"
"""Digests of the CPU builds, which the registry does not carry; they are laid before the registry's."""

HEADER = """\
# {name}, Python {version}: every package with the digests of its files, written by `make lock`.
#     pip install --require-hashes {how}-r {path}
"""
TRAIN_NOTE = """\
# torch: the first digest is that of the CPU build, which is preferred and all that is needed; the others are those of
# the registry's wheels, whose Linux builds ask for NVIDIA's libraries besides (see locks/README.md).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the locks; return the exit code."""
    parser = argparse.ArgumentParser(description="Resolve the locks.")
    parser.add_argument("names", nargs="*", help="extras, `base`, converters/NAME; default: all")
    parser.add_argument("--upgrade", action="store_true", help="take newer releases than those that are locked")
    options = parser.parse_args(arguments)
    there_are = [*all_names(), *CONVERTERS, *PROBES]
    names = options.names or there_are
    if unknown := set(names) - set(there_are):
        parser.error(f"no such lock: {', '.join(sorted(unknown))}; there are {', '.join(there_are)}")
    for version in VERSIONS:
        for name in names:
            if version in {**ONLY_ON, **CONVERTERS, **PROBES}.get(name, VERSIONS):
                write_lock(name, version, options.upgrade)
    return 0


def all_names() -> list[str]:
    """Return the names of the distribution's own locks, the one that the others follow first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = sorted(project["optional-dependencies"])
    return ["dev", "base", *(extra for extra in extras if extra != "dev")]


def lock_path(name: str, version: str) -> Path:
    """Return where a lock stands."""
    return LOCKS / f"{name}-py{version}.txt"


def write_lock(name: str, version: str, upgrade: bool) -> None:
    """Resolve `name` for Python `version` and write it.

    Raises:
        subprocess.CalledProcessError: It cannot be resolved; uv has printed why.
    """
    path = lock_path(name, version)
    _prefer(preferred_lock(name, version, upgrade), path)
    command = [_uv(), "pip", "compile", *requirements(name), "--quiet", "--generate-hashes", "--no-header"]
    command += ["--constraint", "locks/constraints.in", "--python-version", version, "--output-file", str(path)]
    command += ["--upgrade"] if upgrade and (name == "dev" or name in CONVERTERS) else []
    subprocess.run(command, cwd=ROOT, check=True)
    text = with_cpu_builds(path.read_text())
    note = TRAIN_NOTE if any(pin in text for pin, _ in cpu_builds()) else ""
    head = HEADER.format(name=name, version=version, path=path.relative_to(ROOT), how=_how(name))
    path.write_text(head + said_of_itself(name) + note + text)
    print(f"{path.relative_to(ROOT)}: {len(pins(text))} packages")


def with_cpu_builds(text: str) -> str:
    """Return a lock with the CPU builds' digests before those of the registry's wheels."""
    for pin, digest in cpu_builds():
        text = text.replace(f"{pin} \\\n", f"{pin} \\\n    --hash=sha256:{digest} \\\n")
    return text


def cpu_builds() -> list[tuple[str, str]]:
    """Return (`name==version` without the build's own suffix, SHA-256) of each CPU build."""
    return re.findall(r"^(\S+==[^+\s]+)\+cpu --hash=sha256:([0-9a-f]{64})$", CPU_BUILDS.read_text(), flags=re.MULTILINE)


def pins(text: str) -> list[str]:
    """Return the `name==version` of each package in a lock."""
    return re.findall(r"^[a-z0-9][a-z0-9._-]*==[^ ;]+", text, flags=re.MULTILINE)


def preferred_lock(name: str, version: str, upgrade: bool) -> Path | None:
    """Return the lock whose versions are taken where they will do, or null where none is to be followed."""
    largest, own = lock_path("dev", version), lock_path(name, version)
    if name != "dev" and name not in CONVERTERS:
        return largest if largest.exists() else None
    earlier = () if name in CONVERTERS else (lock_path("dev", each) for each in _earlier(version))
    return None if upgrade else next((path for path in (own, *earlier) if path.exists()), None)


def _prefer(lock: Path | None, path: Path) -> None:
    # uv prefers what stands in its output file, so those pins are laid there before; pins alone, since uv would take
    # over digests with them.
    path.write_text("\n".join(pins(lock.read_text() if lock else "")) + "\n")


def requirements(name: str) -> list[str]:
    """Return what uv is told to resolve."""
    if name in CONVERTERS:
        return [f"locks/{name}.in"]
    if name in PROBES:
        return [f"locks/{name}.in", "--no-deps"]
    left_out = ["--override", f"locks/{name}.overrides.in"] if name in WITHOUT else []
    return ["pyproject.toml", "locks/build.in", *([] if name == "base" else ["--extra", name]), *left_out]


def said_of_itself(name: str) -> str:
    """Return what an `.in` says for the installer: what is imported to try it, and how large it is."""
    if name not in CONVERTERS and name not in PROBES:
        return ""
    lines = (LOCKS / f"{name}.in").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(("# imports: ", "# megabytes: ")))


def _how(name: str) -> str:
    return "--no-deps " if name in WITHOUT else ""


def _earlier(version: str) -> Iterable[str]:
    return reversed(VERSIONS[: VERSIONS.index(version)])


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


if __name__ == "__main__":
    sys.exit(main())
