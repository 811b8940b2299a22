"""Small rules around the machine: install windows, self-test verdicts."""

import pytest

from agent.measure.orders import Result, ResultError
from agent.update.selftest import verdict
from agent.update.workload import is_open
from wire.trial import Golden, MemoryUse
from wire.update import Limits, Window

GOLDEN = Golden(passed=True, samples=8)
MEMORY = MemoryUse(baseline_bytes=1, loaded_bytes=2, peak_bytes=3_000_000, by="vm_hwm")


@pytest.mark.parametrize(
    ("start", "end", "minute", "answer"),
    [
        (60, 120, 59, False),
        (60, 120, 60, True),
        (60, 120, 119, True),
        (60, 120, 120, False),
        (1380, 60, 1400, True),
        (1380, 60, 30, True),
        (1380, 60, 60, False),
        (60, 60, 60, False),
    ],
)
def test_windows_may_span_midnight(start: int, end: int, minute: int, answer: bool) -> None:
    assert is_open(Window(from_minute=start, to_minute=end), minute) is answer


VERDICTS: list[tuple[Result, str | None, str]] = [
    (Result(outcome="ok", golden=GOLDEN, memory=MEMORY), None, ""),
    (Result(outcome="ok", golden=None), "golden_mismatch", "terminal"),
    (Result(outcome="ok", golden=Golden(passed=False, samples=8)), "golden_mismatch", "terminal"),
    (Result(outcome="unfit", golden=Golden(passed=False, samples=8)), "golden_mismatch", "terminal"),
    (Result(outcome="failed"), "worker_crashed", "terminal"),
    (Result(outcome="failed", error=ResultError(code="out_of_memory")), "out_of_memory", "terminal"),
    (Result(outcome="incompatible"), "engine_missing", "incompatible"),
]


@pytest.mark.parametrize(("result", "code", "error_class"), VERDICTS)
def test_how_a_self_test_is_judged(result: Result, code: str | None, error_class: str) -> None:
    error = verdict(result, Limits())
    assert (error.code if error else None) == code
    assert (error.error_class if error else "") == error_class


def test_a_bundle_that_takes_more_memory_than_its_document_allows_is_unfit() -> None:
    result = Result(outcome="ok", golden=GOLDEN, memory=MEMORY)
    assert verdict(result, Limits(memory_bytes=3_000_000)) is None
    error = verdict(result, Limits(memory_bytes=2_999_999))
    assert error is not None
    assert error.code == "memory_limit"
