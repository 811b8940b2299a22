"""How a search is shown: a line a candidate, or a board that counts the time down; names lose control characters."""

import pytest

from controller.cli.nouns.compress.watch import BoardWatch, PlainWatch, best_text, counts_text
from controller.compress.search.loop import Moment
from tests.unit.controller.compress.search.spaces import point

BEST = point("best", 0.002, 0.25, 0.5)
MOMENT = Moment(7, 3, BEST, 125.0, "onnx-x\x1b[31m: failed")


def test_what_was_tried_and_what_is_left_and_the_best_are_told() -> None:
    assert counts_text(MOMENT) == "7 tried, 3 within the limit, 2:05 left"
    assert best_text(MOMENT) == "onnx-best, lost 0.20 points, 4.00x as fast, 2.00x smaller"
    assert best_text(Moment(0, 0, None, 1.0)) == "none keeps the limit yet"


@pytest.mark.parametrize("aside", [False, True])
def test_without_a_terminal_each_candidate_is_a_line(aside: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with PlainWatch(aside=aside) as shown:
        shown.saw(Moment(0, 0, None, 9.0))
        shown.saw(MOMENT)
        shown.told("judging")
    captured = capsys.readouterr()
    lines = (captured.err if aside else captured.out).splitlines()
    assert len(lines) == 2
    assert "onnx-x?[31m: failed; best so far: onnx-best" in lines[0]
    assert not (captured.out if aside else captured.err)


def test_on_a_board_the_time_goes_on_between_candidates() -> None:
    from rich.console import Console

    clock = [100.0]
    board = BoardWatch(aside=True, now=lambda: clock[0])
    board.saw(MOMENT)
    clock[0] = 105.0
    console = Console(width=200)
    with console.capture() as captured:
        console.print(board._board())
    assert "2:00 left" in captured.get()
    assert "onnx-x?[31m: failed" in captured.get()
