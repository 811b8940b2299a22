import base64

import pytest

from controller.distribute.merge import MOST_CHUNKS_A_WANT, WantMerger, wanted_chunks
from wire.artifact import Want
from wire.errors import MalformedMessage

A, B = "a" * 64, "b" * 64


def want(*numbers: int, device: str = "pi-1", artifact: str = A, first: int = 0, pieces: tuple[str, ...] = ()) -> Want:
    bitmap = bytearray(max(numbers, default=-8) // 8 + 1)
    for number in numbers:
        bitmap[number // 8] |= 1 << number % 8
    missing = base64.b64encode(bytes(bitmap)).decode()
    return Want(device=device, artifact=artifact, first=first, missing=missing, pieces=pieces)


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        (want(), []),
        (want(0), [0]),
        (want(7, 8), [7, 8]),
        (want(0, 15, first=100), [100, 115]),
    ],
)
def test_a_bitmap_names_chunks_from_its_first_on(asked: Want, numbers: list[int]) -> None:
    assert wanted_chunks(asked) == numbers


def test_a_want_is_bounded() -> None:
    assert len(wanted_chunks(want(*range(5000)))) == MOST_CHUNKS_A_WANT


def test_a_bitmap_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="base64"):
        WantMerger().add("farm", Want(device="pi-1", artifact=A, missing="!"), 0.0)


def test_wants_of_one_window_become_one_batch() -> None:
    merger = WantMerger(window_s=1.0)
    merger.add("farm", want(0, 1, pieces=(B,)), 10.0)
    merger.add("farm", want(1, 2, device="pi-2"), 10.9)
    assert merger.next_due_s() == 11.0
    assert merger.due(10.99) == []
    (batch,) = merger.due(11.0)
    assert (batch.chunks, batch.pieces, batch.devices) == ({0, 1, 2}, {B}, {"pi-1", "pi-2"})
    assert merger.due(12.0) == []
    assert merger.next_due_s() is None


def test_fleets_and_artifacts_are_kept_apart() -> None:
    merger = WantMerger()
    for fleet, artifact in (("farm", A), ("farm", B), ("barn", A)):
        merger.add(fleet, want(0, artifact=artifact), 0.0)
    assert {(each.fleet, each.artifact) for each in merger.due(9.0)} == {("farm", A), ("farm", B), ("barn", A)}


def test_what_went_out_a_moment_ago_is_not_sent_again_at_once_but_later() -> None:
    merger = WantMerger(recent_s=0.5)
    merger.add("farm", want(0), 0.0)
    (batch,) = merger.due(1.0)
    assert merger.unsent(batch, ["x", "y"], 1.0) == ["x", "y"]
    assert merger.unsent(batch, ["x", "z"], 1.4) == ["z"]
    assert merger.unsent(batch, ["x"], 1.6) == ["x"], "it was lost on the way: asked for again"
