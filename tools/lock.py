"""Resolve one hash-checked lock per extra and Python version: `python -m tools.lock [--upgrade] [NAME ...]`.

Decides: which locks there are, and that they agree: the largest is resolved first and the others prefer its versions.
Leaves out: installing them (`tools/environment.py`). Versions already locked are kept unless `--upgrade` is given.
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
ONLY_ON = {"train": ("3.11",)}
"""Extras whose packages have wheels, or were tried, on these versions alone."""

CPU_BUILDS = LOCKS / "torch-cpu.txt"
"""Digests of the CPU builds, which the registry does not carry; they are laid before the registry's."""

HEADER = """\
# {name}, Python {version}: every package with the digests of its files, written by `make lock`.
#     pip install --require-hashes -r {path}
"""
TRAIN_NOTE = """\
# torch: the first digest is that of the CPU build, which is preferred and all that is needed; the others are those of
# the registry's wheels, whose Linux builds ask for NVIDIA's libraries besides (see locks/README.md).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the locks; return the exit code."""
    parser = argparse.ArgumentParser(description="Resolve the locks.")
    parser.add_argument("names", nargs="*", help="extras, or `base`; all where none is named")
    parser.add_argument("--upgrade", action="store_true", help="take newer releases than those that are locked")
    options = parser.parse_args(arguments)
    names = options.names or all_names()
    if unknown := set(names) - set(all_names()):
        parser.error(f"no such lock: {', '.join(sorted(unknown))}; there are {', '.join(all_names())}")
    for version in VERSIONS:
        for name in names:
            if version in ONLY_ON.get(name, VERSIONS):
                write_lock(name, version, options.upgrade)
    return 0


def all_names() -> list[str]:
    """Return the names of all locks, the one that the others follow first."""
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
    _prefer_the_largest(path, version, upgrade)
    command = [_uv(), "pip", "compile", "pyproject.toml", "locks/build.in", "--quiet", "--generate-hashes"]
    command += [
        "--constraint",
        "locks/constraints.in",
        "--no-header",
        "--python-version",
        version,
        "--output-file",
        str(path),
    ]
    command += [] if name == "base" else ["--extra", name]
    command += ["--upgrade"] if upgrade and name == "dev" else []
    subprocess.run(command, cwd=ROOT, check=True)
    text = with_cpu_builds(path.read_text())
    note = TRAIN_NOTE if any(pin in text for pin, _ in cpu_builds()) else ""
    path.write_text(HEADER.format(name=name, version=version, path=path.relative_to(ROOT)) + note + text)
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


def _prefer_the_largest(path: Path, version: str, upgrade: bool) -> None:
    # uv prefers what stands in its output file, so the largest lock's pins are laid there before; pins alone, since uv
    # would take over digests with them.
    largest = lock_path("dev", version)
    if path != largest:
        sources = [largest]
    else:
        sources = [] if upgrade else [path, *(lock_path("dev", earlier) for earlier in _earlier(version))]
    preferred = next((source.read_text() for source in sources if source.exists()), "")
    path.write_text("\n".join(pins(preferred)) + "\n")


def _earlier(version: str) -> Iterable[str]:
    return reversed(VERSIONS[: VERSIONS.index(version)])


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


if __name__ == "__main__":
    sys.exit(main())
