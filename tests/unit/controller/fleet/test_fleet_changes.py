import threading

import pytest

from controller.errors import Busy
from controller.fleet.changes import Changes


def test_a_change_before_the_wait_is_not_missed() -> None:
    changes = Changes()
    changes.note()
    assert changes.wait(0.0)
    assert not changes.wait(0.0)


def test_each_thread_sees_every_change() -> None:
    changes, seen = Changes(), []
    thread = threading.Thread(target=lambda: seen.append(changes.wait(10.0)))
    thread.start()
    changes.note()
    thread.join()
    assert seen == [True]
    assert changes.wait(0.0)


def test_the_end_is_told_to_whoever_waits() -> None:
    changes = Changes()
    changes.end(Busy("lost"))
    with pytest.raises(Busy, match="lost"):
        changes.wait(10.0)
