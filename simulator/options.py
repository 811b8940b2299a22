"""From the options of `simulator run` to the settings of a run.

Decides: how the broker's URL and the file of trusted keys are read. Leaves out: the classes (`classes.py`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from agent.serve.settings import BrokerConfig
from simulator.device.site import Settings
from simulator.draw import Shares
from simulator.errors import ConfigurationError
from wire.errors import BadTopic
from wire.topics import Topics

PASSWORD = "THRESHER_SIMULATOR_BROKER_PASSWORD"
PORTS = {"mqtt": 1883, "mqtts": 8883}
SHORTEST_INTERVAL_S, USUAL_INTERVAL_S = 0.5, 60.0
WILL_DELAY_S = 5


def settings_of(options: Mapping[str, Any], trust: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that options ask for.

    Raises:
        ConfigurationError: A URL, name or file that cannot be used; the text names the option.
    """
    topics = _topics(options["fleet"], options["prefix"])
    return Settings(
        fleet=topics.fleet,
        devices=options["devices"],
        trusted_keys=read_keys(trust),
        broker=broker_of(options["broker"], options["ca_file"], options["keepalive"]),
        password=environment.get(PASSWORD),
        prefix=options["prefix"],
        seed=options["seed"],
        speed=options["speed"],
        metrics_s=interval_s(options["devices"], options["rate"]),
        connects_hz=options["connects"],
        shares=Shares(**{name: options[name] for name in ("slow", "failing", "vanishing", "flapping")}),
    )


def _topics(fleet: str, prefix: str) -> Topics:
    try:
        topics = Topics(fleet)
        topics.plan(f"{prefix}00000")
    except BadTopic as exc:
        raise ConfigurationError(f"--fleet {fleet}, --prefix {prefix}: {exc}") from exc
    return topics


def interval_s(devices: int, rate_hz: float | None) -> float:
    """Return the time between two metrics messages of one device, so that all together send `rate_hz` [s]."""
    return USUAL_INTERVAL_S if rate_hz is None else max(SHORTEST_INTERVAL_S, devices / rate_hz)


def broker_of(url: str, ca_file: Path | None, keepalive_s: int) -> BrokerConfig:
    """Return what a URL like `mqtt://user@host:1883` says.

    Raises:
        ConfigurationError: Another scheme, a password in it, or TLS without an authority.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ConfigurationError(f"--broker {url!r}: {exc}; write mqtt://HOST:PORT") from exc
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigurationError(f"--broker {url!r}: write mqtt://HOST:PORT, or mqtts://HOST:PORT with --ca-file")
    if parts.password:
        raise ConfigurationError(f"--broker: a password in a URL is seen by everybody here; set {PASSWORD}")
    if (parts.scheme == "mqtts") != (ca_file is not None):
        raise ConfigurationError("--ca-file goes with mqtts://, and mqtts:// needs it")
    try:
        return BrokerConfig(
            host=parts.hostname,
            port=port or PORTS[parts.scheme],
            username=parts.username,
            ca_file=ca_file,
            keepalive_s=keepalive_s,
            will_delay_s=WILL_DELAY_S,
        )
    except ValidationError as exc:
        raise ConfigurationError(f"--broker {url!r}: {exc.errors()[0]['msg']}") from exc


def read_keys(path: Path) -> dict[str, str]:
    """Return key id -> public key (base64), as `controller init` wrote them.

    Raises:
        ConfigurationError: Not readable, or not such a file.
    """
    where = "give the workspace's trusted-keys.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"--trust {path} cannot be read ({exc}): {where}") from exc
    known = isinstance(found, dict) and bool(found)
    if not known or not all(isinstance(each, str) for pair in found.items() for each in pair):
        raise ConfigurationError(f"--trust {path} must hold key ids with base64 public keys: {where}")
    return dict(found)
