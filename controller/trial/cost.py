"""What measuring costs, before anything starts: seconds a variant, sittings that a pause allows, the fleet's sum. Pure.

Decides: how long a variant keeps a device busy (warm-up and timed runs of its replicates, the start of every process:
replicates, cold and warm loads, memory and answers, profile), and how variants are split so that one pause of serving
stays within its limit. Leaves out: who measures what (`plan`). The numbers are those of the agent's grades; a variant
whose interval stays wide takes up to twice as many processes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.trial.settings import TrialSettings


@dataclass(frozen=True)
class GradeCost:
    """What a grade takes of a variant. Times [s]; a process is timed for `runs` and `timed_s`, at most `cap_s`.

    `loads`: processes that only load, with the bundle's pages dropped, and as many right after that.
    """

    replicates: int
    loads: int
    warm_up_s: float
    timed_s: float
    runs: int
    cap_s: float


GRADES: Mapping[str, GradeCost] = {
    "quick": GradeCost(replicates=3, loads=0, warm_up_s=0.6, timed_s=0.4, runs=30, cap_s=0.9),
    "normal": GradeCost(replicates=5, loads=3, warm_up_s=3.0, timed_s=10.0, runs=100, cap_s=60.0),
    "ranking": GradeCost(replicates=5, loads=3, warm_up_s=3.0, timed_s=60.0, runs=1024, cap_s=600.0),
}
"""The agent's rules (its `GradeRule`), with the warm-up that a settled device needs."""

OTHER_PROCESSES = 1
"""Memory and the answers on the evaluation set share one."""
PROCESS_S = 1.5
"""Start and load of a process [s]; a first value, from a two-core x86 host."""
COLD_LOAD_S = 5.0
"""The same with a new compile cache [s]: kernels are compiled in it. A first value, from the same host."""


@dataclass(frozen=True)
class TrialCost:
    """Estimated, before the start. `wall_s` lets devices of one host take turns [s]."""

    device_minutes: float
    serving_lost_s: float
    wall_s: float
    processes: int = 0
    longest_pause_s: float = 0.0

    def __str__(self) -> str:
        pause = f" (pauses of at most {self.longest_pause_s:.0f} s)" if self.longest_pause_s else ""
        return (
            f"about {self.device_minutes:.1f} device-minutes in {self.processes} processes, "
            f"{self.serving_lost_s:.0f} s of serving lost{pause}, {self.wall_s / 60:.1f} min until the last record"
        )


@dataclass(frozen=True)
class Share:
    """What one device measures. `runs`: variants over all sittings, the control in each. `serving`: it serves now."""

    device: str
    host_id: str
    serving: bool
    runs: int
    longest_sitting: int


def variant_seconds(settings: TrialSettings) -> float:
    """Return how long one variant keeps one device busy [s], estimated."""
    grade = GRADES[settings.grade]
    warm = variant_processes(settings) - grade.loads
    running_s = grade.replicates * (grade.warm_up_s + timed_seconds(settings))
    return running_s + warm * PROCESS_S + grade.loads * COLD_LOAD_S


def variant_processes(settings: TrialSettings) -> int:
    """Return the fresh processes of one variant: replicates, loads, memory and answers, and a profile where asked."""
    grade = GRADES[settings.grade]
    return grade.replicates + 2 * grade.loads + OTHER_PROCESSES + settings.profile


def timed_seconds(settings: TrialSettings) -> float:
    """Return how long one process is timed [s]: queries that come at a rate or a period take their time."""
    grade, fields = GRADES[settings.grade], settings.settings
    apart_s = 0.0
    if settings.scenario == "paced":
        apart_s = fields.period_ms / 1e3
    elif settings.scenario == "server" and fields.rate_hz is not None:
        apart_s = 1 / fields.rate_hz
    return min(max(grade.timed_s, grade.runs * apart_s), max(grade.cap_s, grade.timed_s))


def sitting_size(settings: TrialSettings) -> int:
    """Return how many variants, the control among them, one pause of serving has room for; below 2 it is too short."""
    return int(settings.longest_pause_s // variant_seconds(settings))


def sittings_of(control: str, others: Sequence[str], size: int | None) -> tuple[tuple[str, ...], ...]:
    """Split variants into sittings of at most `size`, each with the control first; None: one sitting.

    Sittings are as even as can be, and the fewest: every one measures the control again.

    Raises:
        ValueError: `size` has no room for the control and a variant.
    """
    if size is None or len(others) + 1 <= size:
        return ((control, *others),)
    if size < 2:
        raise ValueError(f"a sitting of {size} has no room for the control and a variant")
    count = -(-len(others) // (size - 1))
    parts, start = [], 0
    for number in range(count):
        stop = start + (len(others) - start) // (count - number)
        parts.append((control, *others[start:stop]))
        start = stop
    return tuple(parts)


def too_long(settings: TrialSettings) -> str:
    """Return why no plan can keep the longest pause."""
    return (
        f"measuring the control and one variant takes about {2 * variant_seconds(settings):.0f} s at grade "
        f"{settings.grade}, and trials.longest_pause_s is {settings.longest_pause_s:g}: raise it, take a lower grade, "
        "or set policy: coexist"
    )


def device_cost(settings: TrialSettings, variants: int) -> TrialCost:
    """Return what one device takes that serves, and measures the control and so many variants beside it."""
    size = sitting_size(settings) if settings.policy == "pause" else None
    names = [str(number) for number in range(variants)]
    sittings = sittings_of("control", names, None if size is not None and size < 2 else size)
    runs, longest = sum(map(len, sittings)), max(map(len, sittings))
    return cost_of(settings, [Share("one", "", serving=True, runs=runs, longest_sitting=longest)])


def cost_of(settings: TrialSettings, shares: Sequence[Share]) -> TrialCost:
    """Return what all devices together cost."""
    one_s, pauses = variant_seconds(settings), settings.policy == "pause"
    by_host: defaultdict[str, float] = defaultdict(float)
    for share in shares:
        by_host[share.host_id or share.device] += share.runs * one_s
    paused = [share for share in shares if share.serving and pauses]
    runs = sum(share.runs for share in shares)
    return TrialCost(
        device_minutes=runs * one_s / 60,
        serving_lost_s=sum(share.runs for share in paused) * one_s,
        wall_s=max(by_host.values(), default=0.0),
        processes=runs * variant_processes(settings),
        longest_pause_s=max((share.longest_sitting for share in paused), default=0) * one_s,
    )
