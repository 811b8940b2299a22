"""The device's key and claim: made once, closed to others, said until answered, answered only by what fits."""

import base64
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import entry, main
from agent.errors import ConfigurationError, TrustError
from agent.install.claim import CLAIM_NAME, KEY_NAME, Claimer, device_key, make_claim, read_claim, read_token
from agent.install.layout import Layout
from agent.install.system import System, owner_of
from wire.base import Message
from wire.claim import Claim, Claimed, ClaimToken, TokenBroker, claim_mac, encode_token

KEY = base64.b64encode(b"k" * 32).decode()
SECRET = base64.b64encode(b"s" * 32).decode()


def token(device: str | None = None, fleet: str = "farm") -> ClaimToken:
    broker = TokenBroker(host="b")
    return ClaimToken(
        fleet=fleet, broker=broker, keys={"k1": KEY}, claim="c-1", secret=SECRET, expires_s=9.0, device=device
    )


class Line:
    """A line to the broker that takes everything while it is there."""

    def __init__(self) -> None:
        self.there = True
        self.said: list[tuple[str, Message]] = []

    def publish(self, topic: str, message: Message, retain: bool = False) -> bool:
        assert not retain  # a retained claim would outlive its answer
        if self.there:
            self.said.append((topic, message))
        return self.there


def answer(made: Claim, accepted: bool = True, reason: str | None = None, **changes: Any) -> Claimed:
    fields = {name: getattr(made, name) for name in ("fleet", "device", "claim", "public_key")}
    return Claimed(**{**fields, "accepted": accepted, "reason": reason, "issued_s": 1.0, **changes})


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    public = device_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600
    assert len(base64.b64decode(public)) == 32
    assert device_key(tmp_path) == public


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_NAME).write_bytes(content)
    with pytest.raises(TrustError, match="delete it and enrol again"):
        device_key(tmp_path)
    assert (tmp_path / KEY_NAME).read_bytes() == content


def test_the_claim_is_proven_and_the_secret_is_not_kept(tmp_path: Path) -> None:
    claim = make_claim(tmp_path, token(), "pi-1")
    assert claim.mac == claim_mac(SECRET, claim)
    saved = read_claim(tmp_path)
    assert saved is not None
    assert (saved.claim, saved.state) == (claim, "waiting")
    assert all(SECRET.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_token_for_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--device pi-1"):
        make_claim(tmp_path, token("pi-2"), "pi-1")
    assert list(tmp_path.iterdir()) == []


def test_the_claim_is_said_until_it_is_answered(tmp_path: Path) -> None:
    line = Line()
    claimer = Claimer(tmp_path, line)
    claimer.advance()
    assert line.said == []
    claim = make_claim(tmp_path, token(), "pi-1")  # while the agent runs
    line.there = False
    claimer.advance()
    line.there = True
    claimer.advance()
    claimer.advance()
    assert line.said == [("thresher/1/farm/d/pi-1/claim", claim)] * 2
    claimer.answered(answer(claim))
    claimer.advance()
    assert len(line.said) == 2
    Claimer(tmp_path, line).advance()  # after a restart too
    assert len(line.said) == 2


@pytest.mark.parametrize(
    "changes",
    [{"fleet": "yard"}, {"device": "pi-2"}, {"claim": "c-2"}, {"public_key": KEY}],
    ids=lambda one: next(iter(one)),
)
def test_an_answer_to_something_else_is_left_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    claim = make_claim(tmp_path, token(), "pi-1")
    Claimer(tmp_path, Line()).answered(answer(claim, **changes))
    saved = read_claim(tmp_path)
    assert saved is not None
    assert saved.answer is None


def test_a_refusal_ends_the_claim_and_a_new_token_begins_another(tmp_path: Path) -> None:
    line = Line()
    claimer = Claimer(tmp_path, line)
    claim = make_claim(tmp_path, token(), "pi-1")
    claimer.answered(answer(claim, accepted=False, reason="claim_expired"))
    saved = read_claim(tmp_path)
    assert saved is not None
    assert (saved.state, saved.answer and saved.answer.reason) == ("refused", "claim_expired")
    claimer.advance()
    assert line.said == []
    again = make_claim(tmp_path, token().model_copy(update={"claim": "c-2"}), "pi-1")
    assert again.public_key == claim.public_key
    claimer.advance()
    assert [message for _, message in line.said] == [again]


def test_a_late_refusal_does_not_undo_what_was_accepted(tmp_path: Path) -> None:
    claim = make_claim(tmp_path, token(), "pi-1")
    claimer = Claimer(tmp_path, Line())
    claimer.answered(answer(claim))
    claimer.answered(answer(claim, accepted=False, reason="claim_spent"))
    saved = read_claim(tmp_path)
    assert saved is not None
    assert saved.state == "accepted"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"claim": 1}', '{"claim": {}, "answer": null}'])
def test_a_torn_claim_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / CLAIM_NAME).write_text(content)
    assert read_claim(tmp_path) is None
    Claimer(tmp_path, Line()).advance()


def test_a_token_that_was_cut_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="copy the whole line"):
        read_token(encode_token(token())[:-20])


# --- root in a folder of the service's -------------------------------------------------------------------------------

SERVICE = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")


@pytest.fixture
def owned() -> Iterator[Path]:
    """The state folder of another user, whose parents all may enter."""
    folder = Path(tempfile.mkdtemp(prefix="state-", dir="/tmp"))
    folder.chmod(0o755)
    state = folder / "state"
    state.mkdir()
    os.chown(state, SERVICE, SERVICE)
    yield state
    shutil.rmtree(folder)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("root's")
    path.chmod(0o666)
    return path


@needs_root
@pytest.mark.parametrize("name", [f"{CLAIM_NAME}.tmp", CLAIM_NAME])
def test_root_does_not_write_through_a_link_in_the_services_folder(owned: Path, victim: Path, name: str) -> None:
    (owned / name).symlink_to(victim)
    os.lchown(owned / name, SERVICE, SERVICE)
    make_claim(owned, token(), "pi-1")
    assert (victim.read_text(), victim.stat().st_uid) == ("root's", 0)
    assert {each.name: each.lstat().st_uid for each in owned.iterdir()} == {CLAIM_NAME: SERVICE, KEY_NAME: SERVICE}
    assert not (owned / CLAIM_NAME).is_symlink()
    assert (os.geteuid(), os.getegid()) == (0, 0)


@needs_root
def test_a_key_that_is_a_link_is_refused(owned: Path, victim: Path) -> None:
    (owned / KEY_NAME).symlink_to(victim)
    with pytest.raises(TrustError, match="delete it and enrol again"):
        make_claim(owned, token(), "pi-1")
    assert (victim.read_text(), victim.stat().st_uid) == ("root's", 0)


@needs_root
def test_the_folder_itself_may_be_a_planted_link(owned: Path, tmp_path: Path) -> None:
    roots = tmp_path / "roots"
    roots.mkdir()
    (owned / "below").symlink_to(roots)
    os.lchown(owned / "below", SERVICE, SERVICE)
    for folder in (owned / "below", owned / "below" / "deeper"):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            make_claim(folder, token(), "pi-1")
    with pytest.raises(OSError, match="below"):
        System(Layout()).make_folder(owned / "below" / "cache", 0o750)
    assert list(roots.iterdir()) == []


@needs_root
def test_a_folder_below_the_services_is_made_by_the_service(owned: Path) -> None:
    System(Layout()).make_folder(owned / "a" / "cache", 0o750)
    made = (owned / "a" / "cache").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (SERVICE, 0o750)


@needs_root
def test_the_owner_is_whoever_could_exchange_the_folder(owned: Path) -> None:
    assert owner_of(owned / "missing" / "too") == (SERVICE, SERVICE)
    assert owner_of(owned / "missing", top=owned) is None
    assert owner_of(Path("/etc")) is None


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written into"):
        make_claim(tmp_path / "file" / "state", token(), "pi-1")


def test_the_command_enrols(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(json.dumps({"fleet": "farm", "device": "pi-1", "state_dir": "state", "trusted_keys": {"k": KEY}}))
    arguments = ["enrol", "--config", str(config), "--json", "--claim"]
    shown = CliRunner().invoke(entry, [*arguments, "-"], input=encode_token(token()) + "\n", catch_exceptions=False)
    saved = read_claim(tmp_path / "state")
    assert saved is not None
    assert json.loads(shown.output)["public_key"] == saved.claim.public_key
    with pytest.raises(SystemExit) as ended:
        main([*arguments, encode_token(token(fleet="yard"))])
    assert ended.value.code == 3
