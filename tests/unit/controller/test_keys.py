import base64
import hashlib
import stat
from pathlib import Path

import pytest

from controller.errors import TrustError
from controller.keys import KEY_FILE, create_key, load_key, verify_with


def test_a_key_is_made_once_closed_to_others_and_signs(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    again = create_key(tmp_path / "keys")
    assert (again.key_id, again.public) == (key.key_id, key.public)
    assert stat.S_IMODE((tmp_path / "keys" / KEY_FILE).stat().st_mode) == 0o600
    assert key.key_id == hashlib.sha256(base64.b64decode(key.public)).hexdigest()[:16]
    signature = load_key(tmp_path / "keys").sign(b"text")
    assert verify_with(key.trusted_keys[key.key_id], signature, b"text")
    assert not verify_with(key.public, signature, b"other text")
    assert key.verify(key.key_id, signature, b"text")
    assert not key.verify("0" * 16, signature, b"text"), "another key's name is not ours"


def test_the_private_part_is_never_shown(tmp_path: Path) -> None:
    assert "private" not in repr(create_key(tmp_path)).lower()


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="controller init"):
        load_key(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(TrustError, match=f"mode 0{mode:o}.*chmod 600"):
        load_key(tmp_path)


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(b"-----BEGIN PRIVATE KEY-----\nnonsense\n")
    with pytest.raises(TrustError, match="damaged"):
        load_key(tmp_path)
