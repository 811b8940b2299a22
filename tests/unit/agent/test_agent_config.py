"""The agent's configuration: what is taken, what is refused, and what the refusal says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import VARIABLES, AgentConfig, broker_password, json_schema, load_config
from agent.errors import ConfigurationError

KEYS = {"k1": "AAAA"}
SMALLEST: dict[str, Any] = {"fleet": "farm", "device": "barn-1", "trusted_keys": KEYS}


def write(folder: Path, document: Any) -> Path:
    path = folder / "agent.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_the_smallest_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SMALLEST), {})
    assert (config.fleet, config.device, config.threads, config.broker.port) == ("farm", "barn-1", 1, 1883)
    assert config.state_dir == Path("/var/lib/thresher")
    assert config.kernel_cache == Path("/var/lib/thresher/cache")
    assert config.serve.source.kind == "replay"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("k2: BBBB\n")
    document = {
        **SMALLEST,
        "state_dir": "state",
        "host_lock": "host.lock",
        "cache_dir": "kernels",
        "trusted_keys_file": "keys.yaml",
        "broker": {"password_file": "secret", "ca_file": "/etc/ca.pem"},
    }
    config = load_config(write(tmp_path, document), {})
    assert config.state_dir == tmp_path / "state"
    assert config.host_lock == tmp_path / "host.lock"
    assert config.kernel_cache == tmp_path / "kernels"
    assert config.broker.password_file == tmp_path / "secret"
    assert config.broker.ca_file == Path("/etc/ca.pem")
    assert config.trusted_keys == {"k1": "AAAA", "k2": "BBBB"}


FAULTS: list[tuple[Any, str]] = [
    ("fleet: [", "is not YAML"),
    ("- a list", "must hold keys and values"),
    ({"device": "barn-1", "trusted_keys": KEYS}, r"fleet: Field required; add it"),
    ({**SMALLEST, "fleet": "Farm Sensors"}, r"fleet: String should match pattern"),
    ({**SMALLEST, "thread": 2}, r"thread: .*; remove it, or correct its spelling"),
    ({**SMALLEST, "broker": {"port": 70000}}, r"broker\.port: .*65535"),
    ({**SMALLEST, "broker": {"hots": "x"}}, r"broker\.hots: .*remove it"),
    ({**SMALLEST, "serve": {"source": {"kind": "camera"}}}, r"serve\.source"),
    ({**SMALLEST, "memory_cap_bytes": 10}, r"memory_cap_bytes"),
    ({"fleet": "farm", "device": "barn-1"}, r"trusted_keys: no key is trusted.*controller init"),
]


@pytest.mark.parametrize(("document", "message"), FAULTS)
def test_a_faulty_file_is_named_with_its_field(tmp_path: Path, document: Any, message: str) -> None:
    path = write(tmp_path, document)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_config(path, {})
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read.*--config"):
        load_config(tmp_path / "none.yaml", {})


def test_a_keys_file_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("k2: [1, 2]\n")
    with pytest.raises(ConfigurationError, match="'k2' must be a key id"):
        load_config(write(tmp_path, {**SMALLEST, "trusted_keys_file": "keys.yaml"}), {})


def test_secrets_come_from_variables_before_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    path = write(tmp_path, {**SMALLEST, "broker": {"username": "u", "password_file": "secret"}})
    config = load_config(path, {"THRESHER_AGENT_BROKER_USERNAME": "v"})
    assert config.broker.username == "v"
    assert broker_password(config.broker, {}) == "from-file"
    assert broker_password(config.broker, {"THRESHER_AGENT_BROKER_PASSWORD": "from-variable"}) == "from-variable"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigurationError, match=r"broker\.password_file"):
        broker_password(config.broker, {})


def test_no_password_is_none(tmp_path: Path) -> None:
    assert broker_password(load_config(write(tmp_path, SMALLEST), {}).broker, {}) is None


def test_a_misspelt_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="THRESHER_AGENT_PASWORD is not known") as caught:
        load_config(write(tmp_path, SMALLEST), {"THRESHER_AGENT_PASWORD": "x"})
    assert all(name in str(caught.value) for name in VARIABLES)


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(AgentConfig.model_fields)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"fleet", "device"}
