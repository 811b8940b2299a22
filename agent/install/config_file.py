"""The configuration that an installation writes: from a claim token, or from options.

Decides: what is written, what is only shown as a comment, and that nothing is written which the agent would refuse.
Leaves out: what the keys mean (`agent/config.py`).
"""

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.config import AgentConfig
from agent.device.durable import sync_folder, write_synced
from agent.errors import ConfigurationError
from agent.install.layout import Layout
from agent.install.system import System
from wire.claim import ClaimToken

CONFIG_MODE = 0o640
KEYS_NAME = "trusted-keys.yaml"
AUTHORITY_NAME = "broker-ca.pem"
LARGEST_NAME = 63

_TEXT = """\
# The agent of this device; docs/reference/configuration.md has every key. After a change:
#   systemctl restart thresher-agent
fleet: {fleet}
device: {device}
broker:
  host: {host}
  port: {port}
{login}{authority}trusted_keys_file: {keys}
{state}
# Words that fleet files may match on.
#labels: {{board: pi-5}}
# Memory cap of each worker [bytes].
#memory_cap_bytes: 268435456

# What is served, and for whom. Without this section a workload answers its bundle's own golden inputs, twice a second.
{examples}"""

EXAMPLES = """\
serve:
  # Applications on this device ask over HTTP on this socket, or on a loopback port.
  socket: /run/thresher/predict.sock
  http: {port: 8600}
  workloads:
    # Readings that sensors publish, three fields each; predictions to a topic and to a file.
    soil:
      source: {kind: mqtt, topic: farm/+/soil, fields: [ph, moisture, temperature]}
      sinks:
        - {kind: mqtt, topic: "farm/{key}/soil/prediction"}
        - {kind: jsonl, path: /var/lib/thresher/soil.jsonl}
    # Files that appear in a folder, one query each.
    leaves:
      source: {kind: folder, path: /var/lib/thresher/leaves}
      # Samples for new data, sent to the controller and then deleted: those that the model is unsure of.
      capture: {below_confidence: 0.6}
    # Frames of a camera, five a second.
    gate:
      source: {kind: camera, device: /dev/video0, width: 224, height: 224, rate_hz: 5}
"""


@dataclass(frozen=True)
class Settings:
    """What the file says of this device. `ca` is a certificate authority as PEM."""

    fleet: str
    device: str
    host: str
    port: int
    keys: Mapping[str, str]
    ca: str | None = None
    username: str | None = None
    password_file: Path | None = None


def settings_of_token(token: ClaimToken, device: str | None) -> Settings:
    """Return what a claim token says, under the name it is bound to, the one given, or the host's."""
    name = device or token.device or safe_name(platform.node())
    return Settings(token.fleet, name, token.broker.host, token.broker.port, token.keys, token.broker.ca)


def safe_name(host: str) -> str:
    """Return a host's name as a device's.

    >>> safe_name("Barn_Pi 5.local")
    'barn_pi-5.local'

    Raises:
        ConfigurationError: Nothing of it can stand in a name.
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", host.lower()).lstrip("._-")[:LARGEST_NAME]
    if not name:
        raise ConfigurationError(f"no device name can be made of the host's name {host!r}: give one by --device")
    return name


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST[:PORT]`; a literal IPv6 address stands in brackets.

    Raises:
        ConfigurationError: It is neither.
    """
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?", text)
    port = int(found["port"] or 1883) if found else 0
    if found is None or not 0 < port < 65536:
        raise ConfigurationError(f"--broker {text}: give HOST or HOST:PORT, an IPv6 address in brackets")
    return found["six"] or found["host"], port


def read_keys(path: Path) -> dict[str, str]:
    """Return the keys of a file as `controller init` writes it.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"--keys {path} cannot be read: {exc}") from exc
    if not isinstance(found, dict) or not found or not all(isinstance(each, str) for each in found.values()):
        raise ConfigurationError(f"--keys {path} holds no keys: copy the file that `controller init` wrote")
    return {str(key_id): key for key_id, key in found.items()}


def planned(settings: Settings, layout: Layout) -> AgentConfig:
    """Return the configuration that these settings will be, before anything is written.

    Raises:
        ConfigurationError: The agent would refuse it; the text names each key.
    """
    import yaml
    from pydantic import ValidationError

    document = yaml.safe_load(text_of(settings, layout))
    document |= {"trusted_keys": dict(settings.keys), "state_dir": str(layout.state_dir)}
    document["broker"].pop("ca_file", None)  # is written as well
    try:
        return AgentConfig.model_validate(document)
    except ValidationError as exc:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors(include_url=False)]
        raise ConfigurationError(
            f"{layout.config} would not be a configuration ({'; '.join(faults)}): correct the option of that name, "
            "or ask for another token"
        ) from exc


def write_files(settings: Settings, layout: Layout, system: System) -> None:
    """Write the configuration, the keys and the broker's authority: readable by the service, written by root.

    The configuration comes last and whole: where it lies, all that it names does.
    """
    texts = {layout.config_dir / KEYS_NAME: _mapping(settings.keys)}
    if settings.ca is not None:
        texts[layout.config_dir / AUTHORITY_NAME] = settings.ca
    texts[layout.config] = text_of(settings, layout)
    for path, text in texts.items():
        waiting = path.with_name(path.name + ".tmp")
        write_synced(waiting, text.encode())
        system.own(waiting, CONFIG_MODE, by_service=False)
        os.replace(waiting, path)
    sync_folder(layout.config_dir)


def text_of(settings: Settings, layout: Layout) -> str:
    """Return the text of the configuration; what it can do besides stands in comments."""
    login = ""
    if settings.username is not None:
        login += f"  username: {json.dumps(settings.username)}\n"
    if settings.password_file is not None:
        login += f"  password_file: {json.dumps(str(settings.password_file))}\n"
    # Relative where the tree may become the root of an image: it must hold in both places.
    state = "state_dir: ../../var/lib/thresher\n" if layout.is_image else ""
    return _TEXT.format(
        fleet=json.dumps(settings.fleet),
        device=json.dumps(settings.device),
        host=json.dumps(settings.host),
        port=settings.port,
        login=login or "  # username: pi-1\n  # password_file: broker-password\n",
        authority=f"  ca_file: {AUTHORITY_NAME}\n" if settings.ca is not None else "",
        keys=KEYS_NAME,
        state=state,
        examples="".join(f"#{line}\n" for line in EXAMPLES.splitlines()),
    )


def _mapping(keys: Mapping[str, str]) -> str:
    return "".join(f"{json.dumps(key_id)}: {json.dumps(key)}\n" for key_id, key in sorted(keys.items()))
