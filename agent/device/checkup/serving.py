"""What the configuration needs to be served: packages, keys, secrets that can be read, folders that can be written.

Decides: what of a configuration cannot work on this device. Leaves out: whether brokers and webhooks answer. `files`
looks with the rights of whoever runs it; the caller says whose those are.
"""

import base64
import binascii
import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.config import CREDENTIAL, AgentConfig
from agent.device.checkup.finding import Finding
from agent.serve.settings import CameraSource, FolderSource, JsonlSink, ReplaySource, WebhookSink

STORES = ("/etc/credstore", "/run/credstore", "/etc/credstore.encrypted", "/run/credstore.encrypted")
"""Where systemd looks for what LoadCredential= names. Source: systemd.exec(5)."""
STORED = f"thresher.{CREDENTIAL}"
_KEY_BYTES = 32


def packages(config: AgentConfig) -> list[Finding]:
    """Look for what sources and interfaces are made with; nothing is said of what is not asked for."""
    wanted = []
    if config.serve.socket is not None or config.serve.http is not None:
        wanted.append(("application interface", "uvicorn", "serve"))
    if any(isinstance(source, CameraSource) for _, source in _sources(config)):
        wanted.append(("camera software", "cv2", "camera"))
    found = []
    for name, module, extra in wanted:
        if importlib.util.find_spec(module) is None:
            remedy = f"pip install 'thresher[{extra}]', or take it out of the `serve` section"
            found.append(Finding(name, "missing", f"{module} is not installed", remedy))
        else:
            found.append(Finding(name, "ok", module))
    return found


def trusted_keys(config: AgentConfig) -> Finding:
    """Look whether every trusted key is one: the agent starts with none that is not."""
    faulty = sorted(key_id for key_id, key in config.trusted_keys.items() if not _is_key(key))
    if faulty:
        found = f"{faulty[0]!r} is no base64 Ed25519 public key"
        return Finding("trusted keys", "missing", found, "copy the file again from `controller init`")
    return Finding("trusted keys", "ok", ", ".join(sorted(config.trusted_keys)))


def login(config: AgentConfig) -> list[Finding]:
    """Look for the broker's password where no file is named: in systemd's stores, or given to this process."""
    if config.broker.username is None or config.broker.password_file is not None:
        return []
    given = [os.environ.get("CREDENTIALS_DIRECTORY", "") + f"/{CREDENTIAL}", *(f"{each}/{STORED}" for each in STORES)]
    there = [path for path in given if os.path.isfile(path)]
    if there or "THRESHER_AGENT_BROKER_PASSWORD" in os.environ:
        return [Finding("broker password", "ok", there[0] if there else "in the environment")]
    remedy = f"name broker.password_file, or write it into {STORES[0]}/{STORED} (root's, mode 600)"
    return [Finding("broker password", "warning", f"none is seen for the user {config.broker.username!r}", remedy)]


def files(config: AgentConfig) -> list[Finding]:
    """Look whether the files can be read and the folders be written that the configuration names."""
    found = []
    for name, path in _read(config):
        fault = _read_fault(path)
        remedy = f"write it, and let the agent's user read it (chgrp thresher {path}; chmod 640 {path})"
        found.append(Finding(name, "missing", fault, remedy) if fault else Finding(name, "ok", str(path)))
    for name, folder in _written(config):
        fault = _folder_fault(folder, config.state_dir)
        remedy = f"make it the agent's user's (install -d -o thresher -g thresher {folder})"
        found.append(Finding(name, "missing", fault, remedy) if fault else Finding(name, "ok", str(folder)))
    return found


def _sources(config: AgentConfig) -> Iterator[tuple[str, object]]:
    yield "serve.source", config.serve.source
    for name, workload in config.serve.workloads.items():
        yield f"serve.workloads.{name}.source", workload.source


def _sinks(config: AgentConfig) -> Iterator[tuple[str, object]]:
    for name, workload in config.serve.workloads.items():
        for number, sink in enumerate(workload.sinks):
            yield f"serve.workloads.{name}.sinks.{number}", sink


def _read(config: AgentConfig) -> Iterator[tuple[str, Path]]:
    """Yield the key and the path of each file that is read."""
    named: list[tuple[str, Path | None]] = []
    for where, broker in (("broker", config.broker), ("serve.broker", config.serve.broker)):
        if broker is not None:
            named += [(f"{where}.password_file", broker.password_file), (f"{where}.ca_file", broker.ca_file)]
    for where, sink in _sinks(config):
        if isinstance(sink, WebhookSink):
            named += [(f"{where}.authorization_file", sink.authorization_file), (f"{where}.ca_file", sink.ca_file)]
    named += [(f"{where}.path", source.path) for where, source in _sources(config) if isinstance(source, ReplaySource)]
    return ((name, path) for name, path in named if path is not None)


def _written(config: AgentConfig) -> Iterator[tuple[str, Path]]:
    """Yield the key and the folder of each that is written into; of a folder source, which moves its files, too."""
    for where, source in _sources(config):
        if isinstance(source, FolderSource):
            yield f"{where}.path", source.path
    for where, sink in _sinks(config):
        if isinstance(sink, JsonlSink):
            yield f"{where}.path", sink.path.parent


def _read_fault(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{path} is no file"
        with path.open("rb") as file:
            file.read(1)
    except OSError as exc:
        return f"{path} cannot be read by the agent's user ({exc.strerror})"
    return ""


def _folder_fault(folder: Path, state_dir: Path) -> str:
    folder, state_dir = Path(os.path.abspath(folder)), Path(os.path.abspath(state_dir))
    if folder.is_relative_to(state_dir) and not os.path.lexists(state_dir):
        return ""  # both are made
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(nearest):
        return f"{nearest} is no folder"
    if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        made = "" if nearest == folder else f", so {folder} cannot be made"
        return f"{nearest} cannot be written by the agent's user{made}"
    return ""


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
