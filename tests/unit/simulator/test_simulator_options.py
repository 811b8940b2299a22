"""Options become settings, or are refused with what to write instead; counts add up; progress and summary say them."""

import io
import resource
from pathlib import Path
from typing import Any

import pytest

from simulator.device.site import Settings
from simulator.errors import BrokerUnreachable, ConfigurationError, TooFewFiles
from simulator.options import PASSWORD, broker_of, interval_s, read_keys, settings_of
from simulator.site import fleet
from simulator.site.counts import Counts, added
from simulator.site.processes import shares_of
from simulator.summary import Progress, summary, summary_lines

KEY = {"k1": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}
OPTIONS: dict[str, Any] = {
    "devices": 100,
    "fleet": "farm",
    "broker": "mqtt://boss@broker.example:1999",
    "ca_file": None,
    "keepalive": 30,
    "rate": 50.0,
    "seed": 3,
    "speed": 2.0,
    "connects": 10.0,
    "prefix": "virtual-",
    "slow": 0.1,
    "failing": 0.0,
    "vanishing": 0.0,
    "flapping": 0.5,
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "trusted-keys.yaml"
    path.write_text("".join(f"{name}: {key}\n" for name, key in KEY.items()))
    return path


def test_options_become_settings(keys: Path) -> None:
    found = settings_of(OPTIONS, keys, {PASSWORD: "secret"})
    assert (found.broker.host, found.broker.port, found.broker.username) == ("broker.example", 1999, "boss")
    assert (found.password, found.trusted_keys, found.metrics_s) == ("secret", KEY, 2.0)
    assert (found.shares.slow, found.shares.flapping) == (0.1, 0.5)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(("devices", "rate", "seconds"), [(100, None, 60.0), (100, 200.0, 0.5), (10_000, 200.0, 50.0)])
def test_a_rate_is_that_of_all_devices_together(devices: int, rate: float | None, seconds: float) -> None:
    assert interval_s(devices, rate) == seconds


@pytest.mark.parametrize(
    ("url", "ca", "said"),
    [
        ("http://host", None, "mqtt://HOST:PORT"),
        ("mqtt://", None, "mqtt://HOST:PORT"),
        ("mqtt://host:no", None, "mqtt://HOST:PORT"),
        ("mqtt://me:secret@host", None, PASSWORD),
        ("mqtts://host", None, "--ca-file"),
        ("mqtt://host", Path("ca.pem"), "mqtts://"),
    ],
)
def test_a_faulty_url_is_refused_with_what_to_write(url: str, ca: Path | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        broker_of(url, ca, 30)
    assert "secret" not in str(refused.value)


def test_ports_follow_from_the_scheme() -> None:
    assert broker_of("mqtt://host", None, 30).port == 1883
    assert broker_of("mqtts://host", Path("ca.pem"), 30).port == 8883


def test_a_name_that_no_topic_can_carry_is_refused(keys: Path) -> None:
    for change in ({"fleet": "Farm"}, {"prefix": "a/b"}):
        with pytest.raises(ConfigurationError, match="--prefix"):
            settings_of(OPTIONS | change, keys, {})


@pytest.mark.parametrize("text", ["", "[]", "a: 1", "- a", "{"])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"trusted-keys\.yaml"):
        read_keys(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_keys(tmp_path / "none.yaml")


@pytest.mark.parametrize(("devices", "processes"), [(1, 1), (10, 3), (2, 5), (1000, 7)])
def test_every_device_is_in_one_process(devices: int, processes: int) -> None:
    shares = shares_of(devices, processes)
    assert [number for share in shares for number in share] == list(range(devices))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares) == min(devices, processes)


def test_counts_add_up_and_states_move() -> None:
    first, second = Counts(sent=2, connected=1), Counts(sent=3, connected=1)
    first.moved(None, "idle")
    first.moved("idle", "check")
    second.moved(None, "check")
    total = added([first, second])
    assert (total.sent, total.connected, total.document()["states"]) == (5, 2, {"check": 2})


def test_progress_says_rates_and_refuses_a_run_without_a_broker() -> None:
    now_s, out = [100.0], io.StringIO()
    progress = Progress(5, out, lambda: now_s[0])
    now_s[0] += 11.0
    progress.tell(Counts(devices=5, connected=0))
    with pytest.raises(BrokerUnreachable, match="--broker"):
        progress.require_broker()
    now_s[0] += 10.0
    progress.tell(Counts(devices=5, connected=4, sent=50, states={"idle": 4, "check": 0}))
    assert out.getvalue().splitlines()[-1] == "21 s: connected 4 of 5, 5 messages/s out, 0 in; idle 4"
    progress.require_broker()


def test_a_summary_tells_memory_for_each_device() -> None:
    now_s = [0.0]
    progress = Progress(2, io.StringIO(), lambda: now_s[0])
    now_s[0] = 10.0
    counts = Counts(devices=2, connected=2, sent=100, memory_bytes=90_000)
    document = summary(Settings("farm", 2, KEY), 1, progress, counts)
    assert (document["sent_hz"], document["memory_bytes_per_device"]) == (10.0, 45_000)
    assert summary_lines(document)[-1] == "memory: 45 kB a device"


def test_a_system_with_too_few_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    fleet.allow_files(1000)
    fleet.allow_files(3000)
    assert asked == [(3000, 4096)]
    with pytest.raises(TooFewFiles, match="--processes"):
        fleet.allow_files(5000)
