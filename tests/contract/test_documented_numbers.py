"""Numbers that the documents name are those of the code: who changes a constant finds the page that speaks of it."""

import re

import pytest

from agent.measure.protocol import (
    DRIFT_VOID_RATIO,
    GRADES,
    SHORTEST_SAMPLE_NS,
    WARM_AGREEMENT_RATIO,
)
from agent.update import judge, machine, probation
from controller.choose.paired import samples_needed, smallest_resolvable
from controller.choose.regression import FEWEST_SAMPLES
from controller.compress.calibrate import ranges, stream
from controller.compress.calibrate.clipping import PERCENTILE
from controller.compress.passes import PASSES
from controller.compress.recipe import PassStep, QuantizeStatic
from controller.compress.shipped import shipped_recipes
from controller.deploy.pipeline import PRESENT_WAIT_S
from controller.distribute.documents import REISSUE_BEFORE_S, VALID_S
from controller.leadership import STALE_S
from controller.store import telemetry
from controller.trial.cost import PROCESS_S
from tools.codes import codes
from tools.reference import DOCS
from wire.statistics import fewest_samples

DAY_S = 86400.0


def text_of(page: str) -> str:
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def row_of(page: str, start: str) -> list[str]:
    """Return the cells of the table row that begins with `start`."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("column", "grade"), list(enumerate(("quick", "normal", "ranking"), start=1)))
def test_the_table_of_grades_is_that_of_the_code(column: int, grade: str) -> None:
    rule = GRADES[grade]  # type: ignore[index]
    assert row_of("measuring.md", "|")[column] == grade
    timed = row_of("measuring.md", "timed, each process")[column]
    assert timed == f"{rule.timed_runs} runs and {rule.timed_s:g} s, at most {rule.timed_cap_s:g} s"
    processes = row_of("measuring.md", "fresh processes")[column]
    more = f", then up to {rule.most_replicates}" if rule.most_replicates > rule.replicates else ""
    assert processes == f"{rule.replicates}{more}"
    assert row_of("measuring.md", "waits for an idle")[column] == f"{rule.preflight_wait_s:g} s"
    warm = row_of("measuring.md", "warm-up")[column]
    assert warm == "as normal" or warm.startswith(f"{rule.warm_up_runs} runs and {rule.warm_up_s:g} s")
    assert warm == "as normal" or f"at most {rule.warm_up_cap_s:g} s" in warm


@pytest.mark.parametrize(
    ("page", "phrase"),
    [
        ("measuring.md", f"p95 needs {fewest_samples(0.95)} queries, p99 needs {fewest_samples(0.99)}"),
        ("measuring.md", f"medians agree within {WARM_AGREEMENT_RATIO:.0%}".replace("%", " %")),
        ("measuring.md", f"a rise of more than {DRIFT_VOID_RATIO:.0%}".replace("%", " %")),
        ("measuring.md", f"**Calls below {SHORTEST_SAMPLE_NS / 1e6:g} ms**"),
        ("measuring.md", f"use {PROCESS_S:g} s for the start of a process"),
        ("how-it-works.md", f"judged from {probation.LEAST_P95_SAMPLES} queries on"),
        ("how-it-works.md", f"More than {machine.MOST_RETRIES} retries"),
        ("how-it-works.md", f"after {STALE_S:g} s without a heartbeat"),
        ("operations.md", f"after {STALE_S:g} s from another"),
        ("operations.md", f"the deploy waits {PRESENT_WAIT_S:g} s for one"),
        ("operations.md", f"{judge.DISK_MARGIN_BYTES // 1024**2} MiB are left free"),
        ("operations.md", f"for {telemetry.EVENTS_KEPT_S / DAY_S:g} days and metrics for"),
        ("operations.md", f"metrics for {telemetry.METRICS_KEPT_S / DAY_S:g}"),
        ("compression.md", f"`percentile` ({PERCENTILE:g})"),
        ("compression.md", f"at most `samples` ({QuantizeStatic().samples})"),
        ("adr/0011-streamed-calibration.md", f"histograms of {ranges.HISTOGRAM_BINS} bins"),
        ("adr/0012-exact-unconditional-paired-bound.md", f"refuses fewer than {FEWEST_SAMPLES} samples"),
        (
            "adr/0012-exact-unconditional-paired-bound.md",
            f"(242 samples: {100 * smallest_resolvable(242, 0.95):.2f} points; "
            f"0.5 points: {samples_needed(0.005, 0.95)})",
        ),
    ],
)
def test_a_page_names_the_number_that_holds(page: str, phrase: str) -> None:
    assert phrase in text_of(page)


def test_numbers_that_pages_put_into_words() -> None:
    assert (machine.SELFTEST_TRIES, machine.SWITCH_TRIES) == (2, 3)
    assert "one of two tries (then `unfit`), in switch and probation one of three" in text_of("how-it-works.md")
    assert (VALID_S, REISSUE_BEFORE_S) == (14 * DAY_S, 7 * DAY_S)
    assert "good for two weeks and are issued anew, with the same generation, after one" in text_of("how-it-works.md")
    assert stream.LARGEST_BATCH == 8
    assert "One batch of at most eight samples" in text_of("adr/0011-streamed-calibration.md")


def test_every_pass_and_every_shipped_recipe_has_its_place_in_compression() -> None:
    text = (DOCS / "compression.md").read_text(encoding="utf-8")
    assert set(PASSES) < set(PassStep.model_fields)
    assert [name for name in PassStep.model_fields if f"\n### {name}\n" not in text] == []
    table = text.partition("## Shipped recipes")[2].partition("## Passes")[0]
    # A row may name several: `int8-u8s8-minmax`, `-percentile` stands for two.
    named = [re.findall(r"`([a-z0-9-]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    whole = {name for each in named for name in each if not name.startswith("-")}
    endings = {(each[0], name) for each in named for name in each if name.startswith("-")}
    stems = {first.rpartition("-")[0] + ending for first, ending in endings}
    assert whole | stems == set(shipped_recipes())


def test_the_events_of_a_change_of_bundles_are_named() -> None:
    for event in ("overlap", "stop_then_start"):
        assert event in codes()
        assert f"`{event}`" in text_of("how-it-works.md")
