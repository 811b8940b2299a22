"""The agent's configuration: one YAML file, its secrets by file or variable, checked before anything starts.

Decides: keys, defaults, and messages that name the file and the field. Leaves out: whether a broker answers.

Example: `load_config(Path("agent.yaml")).device`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.errors import ConfigurationError
from wire.base import Name

VARIABLES = {
    "THRESHER_AGENT_BROKER_USERNAME": "user name, over broker.username",
    "THRESHER_AGENT_BROKER_PASSWORD": "password, over broker.password_file",
}
"""variable -> what it stands over."""

KeyId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_PATHS = ("state_dir", "trusted_keys_file", "host_lock", "cache_dir")
_BROKER_PATHS = ("password_file", "ca_file")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerConfig(_Strict):
    """Where the broker is, and how long it keeps the device's session and holds its will back [s]."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    session_expiry_s: int = Field(default=86400, ge=0, le=4_294_967_294)
    will_delay_s: int = Field(default=5, ge=0, le=3600)


class ReplaySource(_Strict):
    """Queries from the bundle's golden inputs, `rate_hz` a second."""

    kind: Literal["replay"] = "replay"
    rate_hz: float = Field(default=2.0, gt=0, le=10_000)


class NoSource(_Strict):
    """The worker is loaded and gets no queries."""

    kind: Literal["none"] = "none"


class ServeConfig(_Strict):
    """What the serving worker serves."""

    source: Annotated[ReplaySource | NoSource, Field(discriminator="kind")] = ReplaySource()


class AgentConfig(_Strict):
    """The whole file. Relative paths are relative to the file's folder."""

    fleet: Name
    device: Name
    broker: BrokerConfig = BrokerConfig()
    state_dir: Path = Path("/var/lib/thresher")
    trusted_keys: dict[KeyId, str] = Field(default_factory=dict)
    trusted_keys_file: Path | None = None
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    threads: int = Field(default=1, ge=1, le=256)
    engines_allowed: tuple[str, ...] | None = None
    memory_cap_bytes: int | None = Field(default=None, ge=16 * 1024 * 1024)
    emulated: bool = False
    metrics_interval_s: float = Field(default=10.0, ge=0.5, le=3600)
    host_lock: Path | None = None
    cache_dir: Path | None = None
    serve: ServeConfig = ServeConfig()

    @property
    def kernel_cache(self) -> Path:
        """Where compiled kernels are kept: `cache_dir`, or a folder of this agent's own."""
        return self.cache_dir or self.state_dir / "cache"


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> AgentConfig:
    """Return the configuration in `path`, variables laid over it.

    Raises:
        ConfigurationError: No such file, not YAML, a faulty or unknown key or variable, or no trusted key.
    """
    document = _read_mapping(path)
    _lay_variables_over(document, environment)
    try:
        config = AgentConfig.model_validate(document)
    except ValidationError as exc:
        raise ConfigurationError(_faults(path, exc)) from exc
    config = _with_absolute_paths(config, path.resolve().parent)
    return _with_keys(config, path)


def broker_password(config: AgentConfig, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the broker's password: the variable, else the file, else null.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    password = environment.get("THRESHER_AGENT_BROKER_PASSWORD")
    if password is not None or config.broker.password_file is None:
        return password
    try:
        return config.broker.password_file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigurationError(
            f"broker.password_file: {config.broker.password_file} cannot be read ({exc.strerror}): "
            "write the password into it and let the agent's user read it"
        ) from exc


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors and for the documentation."""
    return AgentConfig.model_json_schema()


def _read_mapping(path: Path) -> dict[str, Any]:
    import yaml  # 20 ms that `agent --help` need not wait for

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read ({exc.strerror}): give the agent's file by --config") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is not YAML: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold keys and values, beginning with `fleet:` and `device:`")
    return document


def _lay_variables_over(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    unknown = sorted(name for name in environment if name.startswith("THRESHER_AGENT_") and name not in VARIABLES)
    if unknown:
        raise ConfigurationError(f"variable {unknown[0]} is not known: there are {', '.join(sorted(VARIABLES))}")
    username = environment.get("THRESHER_AGENT_BROKER_USERNAME")
    if username is not None:
        broker = document.get("broker")
        document["broker"] = {**(broker if isinstance(broker, dict) else {}), "username": username}


def _faults(path: Path, exc: ValidationError) -> str:
    lines = [f"{path} cannot be used:"]
    for fault in exc.errors(include_url=False, include_input=False):
        field = ".".join(str(step) for step in fault["loc"]) or "(top level)"
        remedy = "remove it, or correct its spelling" if fault["type"] == "extra_forbidden" else "correct it"
        if fault["type"] == "missing":
            remedy = "add it"
        lines.append(f"  {field}: {fault['msg']}; {remedy}")
    return "\n".join(lines)


def _with_absolute_paths(config: AgentConfig, base: Path) -> AgentConfig:
    def placed(model: BaseModel, names: tuple[str, ...]) -> dict[str, Path]:
        paths = {name: getattr(model, name) for name in names}
        return {name: base / path.expanduser() for name, path in paths.items() if path is not None}

    broker = config.broker.model_copy(update=placed(config.broker, _BROKER_PATHS))
    return config.model_copy(update={**placed(config, _PATHS), "broker": broker})


def _with_keys(config: AgentConfig, path: Path) -> AgentConfig:
    keys = dict(config.trusted_keys)
    if config.trusted_keys_file is not None:
        found = _read_mapping(config.trusted_keys_file)
        faulty = [key_id for key_id, key in found.items() if not (isinstance(key_id, str) and isinstance(key, str))]
        if faulty:
            raise ConfigurationError(
                f"{config.trusted_keys_file}: {faulty[0]!r} must be a key id with a base64 public key: "
                "copy the file again from `controller init`"
            )
        keys.update(found)
    if not keys:
        raise ConfigurationError(
            f"{path}: trusted_keys: no key is trusted, so no document could ever be obeyed; add the public key that "
            "`controller init` printed, or name a file by trusted_keys_file"
        )
    return config.model_copy(update={"trusted_keys": keys})
