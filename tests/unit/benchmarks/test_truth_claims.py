"""What the truth benchmark makes of what it measured: faults that are put in turn its claims false."""

import contextlib
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from agent.inference.bundle import Bundle
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.measure import process
from agent.measure.protocol import GRADES
from benchmarks.truth import attempt, compiled_claim
from benchmarks.truth_parts import overhead
from benchmarks.truth_parts.bundles import BLOCKS, MORE_BLOCKS, SIDE, block_outputs, write_blocks, write_engine
from benchmarks.truth_parts.disturbed import flagged_claim, neighbour
from benchmarks.truth_parts.engines import BusyEngine
from benchmarks.truth_parts.known import busy_claim, found_claim
from benchmarks.truth_parts.peers import plain_claim, tool_claim
from benchmarks.truth_parts.peers import tools as peer_tools
from benchmarks.truth_parts.peers import turns as peer_turns
from benchmarks.truth_parts.peers.turns import NoTool, Stopped, Talking
from benchmarks.truth_parts.product import Product, compiled, last_core, pinned
from benchmarks.truth_parts.worker import RULES
from wire.trial import Phases, Replicate, Samples

MS = 1_000_000


def replicate(*flags: str, misses: int = 0, while_timing: int = 0) -> Replicate:
    samples = Samples.pack([MS] * 3)
    return Replicate(
        order=0,
        total_ns=samples,
        pre_ns=samples,
        infer_ns=samples,
        post_ns=samples,
        warm_up_ns=samples,
        phases=Phases(cache_misses=misses),
        conditions={"compiled_while_timing": while_timing},
        flags=flags,
    )


def test_more_blocks_are_exactly_five_percent_more() -> None:
    assert MORE_BLOCKS * 100 == BLOCKS * 105


def test_a_bundle_of_blocks_answers_as_it_says(tmp_path: Path) -> None:
    bundle = Bundle.open(write_blocks(tmp_path / "b", "two", 2))
    engine = OnnxRuntimeEngine.load(bundle.model_path, {}, threads=1)
    queries = np.load(tmp_path / "b/golden/inputs.npy")
    found = np.concatenate([engine.infer([query[None]])[0] for query in queries])
    assert found.shape == (len(queries), SIDE)
    np.testing.assert_allclose(found, block_outputs(queries, 2), rtol=1e-3, atol=1e-4)
    deep = block_outputs(queries[:1], MORE_BLOCKS)
    assert 1e-3 < np.abs(deep).max() < 1e3, "values vanish or grow: arithmetic would take another path"


def test_bundles_that_differ_by_their_variant_alone_are_two(tmp_path: Path) -> None:
    manifests = [Bundle.open(write_blocks(tmp_path / name, name, 1)).manifest for name in ("a", "b")]
    assert manifests[0].files == manifests[1].files
    assert manifests[0] != manifests[1]


def test_the_busy_engine_is_busy_for_as_long_as_it_says() -> None:
    engine = BusyEngine.load(Path(), {"busy_ns": 2 * MS}, 1)
    before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    engine.infer([])
    assert time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - before_ns >= 2 * MS


@pytest.mark.parametrize(("medians", "holds"), [((5.0, 5.01), True), ((5.0, 5.06), False), ((5.0, 4.94), False)])
def test_one_process_that_is_off_by_more_than_a_percent_is_enough(medians: tuple[float, ...], holds: bool) -> None:
    claim = busy_claim(5, [each * MS for each in medians], [5.1 * MS])
    assert claim.holds is holds


@pytest.mark.parametrize(("found_mib", "holds"), [(63.9, True), (65.1, False), (62.9, False), (0.0, False)])
def test_an_allocation_must_be_found_within_a_mebibyte(found_mib: float, holds: bool) -> None:
    assert found_claim(found_mib, "vm_hwm").holds is holds


@pytest.mark.parametrize(
    ("ours_us", "theirs_us", "holds"),
    [(108, 100, True), (111, 100, False), (89, 100, False), (4039, 4000, True), (4041, 4000, False)],
)
def test_a_plain_loop_allows_a_percent_or_ten_microseconds(ours_us: int, theirs_us: int, holds: bool) -> None:
    assert plain_claim([(ours_us / theirs_us, theirs_us * 1e3)] * 3).holds is holds


@pytest.mark.parametrize(("ours", "holds"), [(1.019, True), (1.021, False), (0.979, False)])
def test_a_tool_allows_two_percent_either_way(ours: float, holds: bool) -> None:
    assert tool_claim("t", [(ours, MS)] * 3, "").holds is holds
    assert tool_claim("t", [(ours, MS)], "").holds is holds, "one round has no bounds, and a claim all the same"


@pytest.mark.parametrize(("spent_ns", "holds"), [(1_009_000, True), (1_011_000, False)])
def test_measuring_may_cost_a_percent(spent_ns: int, holds: bool) -> None:
    claim = overhead.measuring_claim({"with_ns": spent_ns, "without_ns": MS, "blocks": 3})
    assert claim.holds is holds
    pipeline = overhead.pipeline_claim({"with_ns": spent_ns + 0.01 * MS, "without_ns": MS, "blocks": 3})
    assert pipeline.holds is holds


def test_blocks_take_turns_and_the_slower_way_shows() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        ends = time.perf_counter() + 0.004
        while time.perf_counter() < ends:
            pass

    found = overhead.compare(slow, lambda: order.append("fast"), 4)
    assert order[2:] == ["slow", "fast", "fast", "slow"] * 2
    assert found["with_ns"] >= 4 * MS / overhead.BLOCK > found["without_ns"]


def test_every_disturbed_process_must_say_so() -> None:
    quiet, flagged = [replicate(), replicate("few_inputs")], replicate("disturbed", "unstable")
    assert flagged_claim("busy neighbour", [flagged, flagged], quiet).holds
    short = flagged_claim("busy neighbour", [flagged, replicate("unstable")], quiet)
    assert (short.value, short.holds) == (0.5, False)
    assert flagged_claim("stopped for a fifth of the time", [replicate("stalled")], quiet).holds
    assert not flagged_claim("busy neighbour", [replicate("stalled")], quiet).holds


def test_flags_that_undisturbed_processes_have_as_well_prove_nothing() -> None:
    flagged = replicate("disturbed")
    claim = flagged_claim("busy neighbour", [flagged, flagged], [flagged, flagged])
    assert (claim.value, claim.holds) == (None, False)
    assert "this host is not quiet" in claim.how
    assert flagged_claim("busy neighbour", [flagged, flagged], [flagged, replicate()]).holds


def test_compiling_before_or_while_timing_is_counted(tmp_path: Path) -> None:
    assert compiled([replicate(), replicate(misses=2), replicate(while_timing=1)]) == 3
    nothing = tmp_path / "none.jsonl"
    assert compiled_claim(Product(tmp_path, [replicate()]), nothing).holds
    assert not compiled_claim(Product(tmp_path, [replicate(misses=1)]), nothing).holds
    assert not compiled_claim(Product(tmp_path), nothing).holds, "nothing measured proves nothing"


def test_a_part_that_fails_is_told_and_takes_nothing_from_the_others() -> None:
    def broken() -> list[object]:
        raise RuntimeError("no such sensor")

    claims = attempt("sensors", broken)  # type: ignore[arg-type]  # it never returns
    assert [(claim.holds, claim.value) for claim in claims] == [(False, None)]
    assert "no such sensor" in claims[0].how


def test_processes_that_are_started_pinned_run_on_the_last_core() -> None:
    before = os.sched_getaffinity(0)
    program = "import os; print(sorted(os.sched_getaffinity(0)))"
    with pinned():
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == f"[{max(before)}]"
    assert os.sched_getaffinity(0) == before
    assert last_core() == max(before)


def test_the_busy_neighbour_ends_with_its_block() -> None:
    import psutil

    before = {child.pid for child in psutil.Process().children()}
    with neighbour():
        started = {child.pid for child in psutil.Process().children()} - before
        assert len(started) == 1
    assert not started & {child.pid for child in psutil.Process().children()}


def test_a_missing_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoTool, match="no C compiler"):
        peer_tools.OrtLoop(tmp_path)


def test_a_tool_that_fails_says_why() -> None:
    dies = [sys.executable, "-c", "import sys; print('gone', file=sys.stderr); sys.exit(3)"]
    for peer in (Talking(dies), Stopped(dies, "never", Path("none"))):
        with contextlib.closing(peer), pytest.raises(NoTool, match="ended with 3"):
            peer.ready()


def test_a_tool_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_turns, "PATIENCE_S", 0.2)
    hangs = Talking([sys.executable, "-c", "import time; time.sleep(600)"])
    with contextlib.closing(hangs), pytest.raises(NoTool, match="ended with -9"):
        hangs.ready()


@pytest.mark.parametrize("which", ["plain", "c"])
def test_a_loop_takes_turns_or_says_what_is_wrong(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_tools, "AMOUNTS", ("0.01", "0.001", "0.005", "0.008"))
    bundle = write_blocks(tmp_path / "b", "b", 1)
    try:
        start = peer_tools.OrtLoop(tmp_path).start if which == "c" else peer_tools.plain_loop
    except NoTool as exc:
        pytest.skip(str(exc))
    with contextlib.closing(start(bundle)) as peer:
        peer.ready()
        assert [peer.turn().enough for _ in range(2)] == [False, True]
        medians_ns = peer.medians_ns()
    assert len(medians_ns) == 2
    assert min(medians_ns) > 1000
    (bundle / "model.onnx").write_bytes(b"none")
    with contextlib.closing(start(bundle)) as peer, pytest.raises(NoTool, match=r"model\.onnx"):
        peer.ready()


def test_a_tool_without_turns_stands_still_in_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_turns, "STOPPED_TURN_S", 0.1)
    result = tmp_path / "result.json"
    program = (
        "import json, sys, time\nprint('begins to time', file=sys.stderr, flush=True)\nseen = 0\n"
        "for _ in range(20):\n    time.sleep(0.01); seen += 1\n"
        f"    open({str(tmp_path / 'seen')!r}, 'w').write(str(seen))\n"
        f"json.dump({{'latency': {{'median_ms': 2.5}}}}, open({str(result)!r}, 'w'))"
    )
    with contextlib.closing(Stopped([sys.executable, "-c", program], "begins", result)) as tool:
        tool.ready()
        assert not tool.turn().full
        while proc_state(tool.running.pid) != "T":  # the signal is on its way
            time.sleep(0.001)
        before = (tmp_path / "seen").read_text()
        time.sleep(0.05)
        assert (tmp_path / "seen").read_text() == before
        while not tool.turn().full:
            pass
        assert tool.medians_ns() == [2_500_000.0]


def proc_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_own_rules_and_workers_do_not_stay(tmp_path: Path) -> None:
    before = GRADES["normal"], process.MODULE
    product = Product(tmp_path)
    with product._session(replicates=1):
        assert GRADES["normal"].replicates == 1
        assert GRADES["normal"].timed_s == RULES["normal"].timed_s
        assert before[1] != process.MODULE
    assert (GRADES["normal"], process.MODULE) == before


def test_a_bundle_that_cannot_be_measured_is_told(tmp_path: Path) -> None:
    bundle = write_engine(tmp_path / "b", "nowhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        Product(tmp_path / "cache", grade="quick").memory(bundle)


def test_options_of_the_pairs_are_taken_apart() -> None:
    from benchmarks.truth import _options

    options, rest = _options(["--quick", "--state", "here", "--report", "--json"])
    assert (options, rest) == (
        Namespace(pairs_only=False, report=True, state=Path("here"), pairs=200),
        ["--quick", "--json"],
    )
