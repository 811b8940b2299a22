"""What an installation writes is a configuration that the agent reads, examples in its comments included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import load_config
from agent.errors import ConfigurationError
from agent.install.config_file import (
    AUTHORITY_NAME,
    EXAMPLES,
    KEYS_NAME,
    Settings,
    parse_address,
    planned,
    read_keys,
    safe_name,
    settings_of_token,
    text_of,
    write_files,
)
from agent.install.layout import Layout
from agent.install.system import System
from agent.serve.settings import ServeConfig
from tests.unit.agent.install.test_device_claim import KEY, token

SETTINGS = Settings("farm", "pi-1", "broker.local", 8883, {"k1": KEY}, "-----BEGIN CERTIFICATE-----\n")


def written(root: Path, settings: Settings) -> Layout:
    layout = Layout(root)
    layout.config_dir.mkdir(parents=True)
    write_files(settings, layout, System(layout))
    return layout


def test_what_is_written_is_read(tmp_path: Path) -> None:
    layout = written(tmp_path, SETTINGS)
    config = load_config(layout.config, environment={})
    assert (config.fleet, config.device, config.broker.host, config.broker.port) == (
        "farm",
        "pi-1",
        "broker.local",
        8883,
    )
    assert config.trusted_keys == {"k1": KEY}
    assert config.broker.ca_file is not None
    assert config.broker.ca_file.read_text() == SETTINGS.ca
    assert config.state_dir.resolve() == layout.state_dir
    assert all(path.stat().st_mode & 0o027 == 0 for path in layout.config_dir.iterdir())


def test_a_login_is_written_and_a_tree_can_become_a_root(tmp_path: Path) -> None:
    settings = Settings("1e3", "no", "::1", 1883, {"0x1": KEY}, username="pi: 1", password_file=Path("/run/pass word"))
    config = load_config(written(tmp_path, settings).config, environment={})
    assert (config.fleet, config.device, config.broker.username) == ("1e3", "no", "pi: 1")  # none of it is YAML's own
    assert (config.broker.password_file, list(config.trusted_keys)) == (Path("/run/pass word"), ["0x1"])
    assert str(tmp_path) not in (tmp_path / "etc/thresher/agent.yaml").read_text()
    assert "state_dir" not in text_of(settings, Layout())


def test_nothing_half_written_is_left_and_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    layout, victim = Layout(tmp_path), tmp_path / "victim"
    layout.config_dir.mkdir(parents=True)
    victim.write_text("mine")
    layout.config.symlink_to(victim)
    write_files(SETTINGS, layout, System(layout))
    assert victim.read_text() == "mine"
    assert sorted(each.name for each in layout.config_dir.iterdir()) == ["agent.yaml", AUTHORITY_NAME, KEYS_NAME]


def test_what_is_planned_is_what_is_written(tmp_path: Path) -> None:
    config = planned(SETTINGS, Layout(tmp_path))
    there = load_config(written(tmp_path, SETTINGS).config, environment={})
    assert config.state_dir == there.state_dir.resolve()
    kept = {"fleet", "device", "trusted_keys", "serve", "labels"}
    assert config.model_dump(include=kept) == there.model_dump(include=kept)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"device": "Bad_Name!"}, "device"),
        ({"fleet": ""}, "fleet"),
        ({"port": 0}, r"broker\.port"),
        ({"keys": {"k" * 65: KEY}}, "trusted_keys"),
    ],
)
def test_what_the_agent_would_refuse_is_not_planned(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        planned(replace(SETTINGS, **changes), Layout(tmp_path))


def test_the_examples_are_right() -> None:
    shown = [line for line in text_of(SETTINGS, Layout()).splitlines() if line.startswith("#")]
    uncommented = "\n".join(line[1:] for line in shown[shown.index("#serve:") :])
    assert uncommented.strip() == EXAMPLES.strip()
    serve = ServeConfig.model_validate(yaml.safe_load(EXAMPLES)["serve"])
    assert serve.http is not None
    assert serve.http.port == 8600  # what the documents say
    assert {workload.source.kind for workload in serve.workloads.values()} == {"mqtt", "folder", "camera"}


def test_the_name_is_the_one_given_or_bound_or_the_hosts() -> None:
    assert settings_of_token(token("pi-1"), None).device == "pi-1"
    assert settings_of_token(token(), "pi-2").device == "pi-2"
    assert settings_of_token(token(), None).device


@pytest.mark.parametrize(
    ("host", "name"),
    [("Barn_Pi 5.local", "barn_pi-5.local"), ("..x", "x"), ("Ä-pi", "pi"), ("a" * 80, "a" * 63), ("ok-1", "ok-1")],
)
def test_a_hosts_name_is_made_safe(host: str, name: str) -> None:
    assert safe_name(host) == name


def test_a_host_without_a_usable_name() -> None:
    with pytest.raises(ConfigurationError, match="--device"):
        safe_name("Ä")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("b", ("b", 1883)),
        ("b.local:8883", ("b.local", 8883)),
        ("[::1]:1", ("::1", 1)),
        ("[fe80::1]", ("fe80::1", 1883)),
    ],
)
def test_an_address_is_taken_apart(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "b:", "b:0", "b:99999", "::1", "mqtt://b", "b c", "b:port"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("content", [None, "", "[]", "k1: 5", "{", "\x00"])
def test_a_file_without_keys(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"keys\.yaml"):
        read_keys(path)
