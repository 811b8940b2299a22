"""The agent's configuration: one YAML file, its secrets by file or variable, checked before anything starts.

Decides: keys, defaults, and messages that name the file and the field. Leaves out: whether a broker answers.

Example: `load_config(Path("agent.yaml")).device`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from agent.errors import ConfigurationError
from agent.serve.settings import BrokerConfig, ServeConfig, Strict
from wire.base import Name

VARIABLES = {
    "THRESHER_AGENT_BROKER_USERNAME": "user name, over broker.username",
    "THRESHER_AGENT_BROKER_PASSWORD": "password, over broker.password_file",
}
"""variable -> what it stands over."""

KeyId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
CREDENTIAL = "broker-password"
"""Systemd credential (LoadCredential=) that holds the broker's password where no file is named."""

PartT = TypeVar("PartT")


class WorkersConfig(Strict):
    """What holds the worker processes, beside `threads` and `memory_cap_bytes`."""

    sandbox: Literal["best_effort", "required", "off"] = "best_effort"
    """`best_effort`: what the kernel offers, and it is told. `required`: no worker without. `off`: none."""
    user: str | None = Field(default=None, min_length=1, max_length=32)
    """System user that workers run as; the agent needs the capability to change to it."""
    cores: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=1024)
    """Cores that workers may use; null: all."""
    nice: int = Field(default=0, ge=0, le=19)
    """How far workers step back for others."""
    cpu_quota_ratio: float | None = Field(default=None, gt=0, le=1024)
    """Processor time of each worker, in cores (0.5: half of one); it needs a cgroup."""

    def held(self) -> dict[str, Any]:
        """Return these as the fields of a child's `Command`."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class AgentConfig(Strict):
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
    artifacts_limit_bytes: int | None = Field(default=None, ge=1024 * 1024)
    emulated: bool = False
    metrics_interval_s: float = Field(default=60.0, ge=0.5, le=3600)
    host_lock: Path | None = None
    cache_dir: Path | None = None
    serve: ServeConfig = ServeConfig()
    workers: WorkersConfig = WorkersConfig()

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
    config = _placed(config, path.resolve().parent)
    return _with_keys(config, path)


def broker_password(
    broker: BrokerConfig, environment: Mapping[str, str] = os.environ, variable: str = "THRESHER_AGENT_BROKER_PASSWORD"
) -> str | None:
    """Return a broker's password: the variable, else the file, else systemd's credential, else null.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    password = environment.get(variable)
    path = broker.password_file or _credential(broker, environment)
    if password is not None or path is None:
        return password
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigurationError(
            f"broker.password_file: {path} cannot be read ({exc.strerror}): "
            "write the password into it and let the agent's user read it"
        ) from exc


def _credential(broker: BrokerConfig, environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder and broker.username is not None else None
    return path if path is not None and path.is_file() else None


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


def _placed(part: PartT, base: Path) -> PartT:
    """Return `part` with every path in it, however deep, relative to `base`."""
    made: Any = part
    if isinstance(part, Path):
        made = base / part.expanduser()
    elif isinstance(part, BaseModel):
        found = {name: getattr(part, name) for name in type(part).model_fields}
        made = part.model_copy(update={name: _placed(value, base) for name, value in found.items()})
    elif isinstance(part, tuple):
        made = tuple(_placed(each, base) for each in part)
    elif isinstance(part, dict):
        made = {name: _placed(each, base) for name, each in part.items()}
    placed: PartT = made
    return placed


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
