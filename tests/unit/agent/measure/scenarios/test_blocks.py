"""Losses are told block by block; what the kernel does not offer is null."""

from pathlib import Path

from agent.measure.protocol import GRADES
from agent.measure.scenarios.blocks import MOST_BLOCKS, Blocks
from agent.measure.scenarios.loop import Amount, Timings, collect


def write(root: Path, delay: int, switches: int, total: int, steal: int) -> None:
    files = {
        "proc/self/task/1/schedstat": f"100 {delay} 3\n",
        "proc/self/task/1/status": f"nonvoluntary_ctxt_switches:\t{switches}\n",
        "proc/pressure/cpu": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\nfull avg10=0.00 total=9\n",
        "proc/stat": f"cpu  1 2 3 4 5 6 7 {steal} 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_a_block_says_what_was_lost_in_it(tmp_path: Path) -> None:
    write(tmp_path, 1000, 2, 50, 3)
    blocks = Blocks(GRADES["quick"], tmp_path)
    write(tmp_path, 1500, 2, 90, 4)
    blocks.cut(blocks.due_ns, 7)
    write(tmp_path, 1500, 5, 90, 4)
    first, second = blocks.end(10)
    wanted = {"samples": 7, "run_delay_ns": 500, "involuntary_switches": 0, "psi_cpu_some_us": 40, "steal_ticks": 1}
    assert {name: first[name] for name in wanted} == wanted
    assert (second["samples"], second["involuntary_switches"], second["run_delay_ns"]) == (3, 3, 0)


def test_without_readings_a_block_has_nulls(tmp_path: Path) -> None:
    (block,) = Blocks(GRADES["quick"], tmp_path).end(3)
    assert (block["psi_cpu_some_us"], block["steal_ticks"], block["run_delay_ns"]) == (None, None, None)


def test_no_samples_make_no_block(tmp_path: Path) -> None:
    assert Blocks(GRADES["quick"], tmp_path).end(0) == []


class Instant:
    """A sampler whose samples say that they took a millisecond."""

    queries_per_call = 1

    def sample(self, timings: Timings, _calls: int) -> int:
        timings.total.append(1_000_000)
        return 1_000_000


def test_a_long_loop_has_a_bounded_number_of_blocks(tmp_path: Path) -> None:
    timings, blocks = Timings(), Blocks(GRADES["quick"], tmp_path)
    assert collect(Instant(), timings, Amount(5000, 0.0), blocks) == 5.0
    ended = blocks.end(len(timings.total))
    assert len(ended) == MOST_BLOCKS
    assert sum(block["samples"] for block in ended) == 5000
    assert {block["samples"] for block in ended[:-1]} == {40}  # a tenth of 0.4 s


def test_a_loop_ends_when_runs_and_seconds_are_both_reached_or_at_its_cap() -> None:
    for amount, samples in ((Amount(10, 0.05), 50), (Amount(80, 0.05), 80), (Amount(1000, 0.05, 0.2), 200)):
        timings = Timings()
        collect(Instant(), timings, amount)
        assert len(timings.total) == samples
