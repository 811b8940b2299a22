"""The broker's configuration: loopback only, shipped files equal to what the command prints."""

import tomllib
from pathlib import Path

import pytest

from controller.broker.settings import LARGEST_PAYLOAD_BYTES, MOSQUITTO_CONF, EmbeddedSettings, embedded_toml
from controller.errors import ConfigurationError

CONFIGS = Path(__file__).parents[4] / "configs" / "broker"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "", "localhost", "farm.example"])
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        EmbeddedSettings(1883, host)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match="port"):
        EmbeddedSettings(port)


def test_toml_says_mqtt5_loopback_and_one_mebibyte() -> None:
    listeners = tomllib.loads(embedded_toml(EmbeddedSettings(2883)))["v5"]
    assert listeners["loopback"]["listen"] == "127.0.0.1:2883"
    assert listeners["loopback"]["connections"]["max_payload_size"] == LARGEST_PAYLOAD_BYTES


def test_logins_are_quoted() -> None:
    text = embedded_toml(EmbeddedSettings(1883, logins={'a"b': 'x\n"y'}))
    assert tomllib.loads(text)["v5"]["loopback"]["connections"]["auth"] == {'a"b': 'x\n"y'}


def test_shipped_files_are_what_the_command_prints() -> None:
    assert (CONFIGS / "embedded.toml").read_text() == embedded_toml(EmbeddedSettings(1883))
    assert (CONFIGS / "mosquitto.conf").read_text() == MOSQUITTO_CONF
