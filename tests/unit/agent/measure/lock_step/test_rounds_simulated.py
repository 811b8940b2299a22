"""What lock-step is worth where a machine wanders, by simulation with fixed seeds.

The machine: log speed is a first-order autoregression with a standard deviation of 30 % and a time constant of 1 s, the
same for whoever runs. A fresh process brings 1 % of its own. Both ways have five processes a side, or more by the looks
of the grade `normal`, each timed for 1.2 s.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from agent.measure.protocol import GRADES, interval_reached
from agent.measure.scenarios.turns import BLOCK_S, REWARM_S
from wire.statistics import compare, compare_rounds, round_log_ratio

PAIRS = 400
WANDER, SCALE_S, OWN = 0.30, 1.0, 0.01
STEP_S = 0.005
TIMED_S, START_S, HANDOVER_S = 1.2, 1.0, 0.002
Floats = NDArray[np.float64]


def wander(random: np.random.Generator, series: int, seconds: float) -> Floats:
    """Return log speeds of so many stretches of time, shape (series, steps): stationary, whatever they start with."""
    steps, kept = math.ceil(seconds / STEP_S), math.exp(-STEP_S / SCALE_S)
    shocks = random.normal(0, WANDER * math.sqrt(1 - kept**2), (series, steps))
    shocks[:, 0] = random.normal(0, WANDER, series)
    return np.asarray(lfilter([1.0], [1.0, -kept], shocks, axis=1), dtype=np.float64)


def blocks(log_speed: Floats, block_s: float) -> tuple[Floats, Floats]:
    """Return the latency of either side's blocks, (series, blocks) each: turns go there and back."""
    turn, rewarm, timed = (round(s / STEP_S) for s in (block_s + REWARM_S + HANDOVER_S, REWARM_S + HANDOVER_S, block_s))
    count = 2 * round(TIMED_S / block_s)
    slots = log_speed[:, : count * turn].reshape(len(log_speed), count, turn)[:, :, rewarm : rewarm + timed]
    latency = np.exp(np.median(slots, axis=2))
    places = np.arange(count).reshape(-1, 2)
    places[1::2] = places[1::2, ::-1]
    return latency[:, places[:, 0]], latency[:, places[:, 1]]


def rounds(random: np.random.Generator, slower_by: float, block_s: float = BLOCK_S) -> list[list[float]]:
    """Return the log ratios of as many rounds as may be taken, for each pair."""
    most = GRADES["normal"].most_replicates
    length_s = 2 * TIMED_S * (block_s + REWARM_S + HANDOVER_S) / block_s + STEP_S
    first, second = blocks(wander(random, PAIRS * most, length_s), block_s)
    own = np.exp(random.normal(0, OWN, (2, PAIRS * most, 1)))
    sides = (first * own[0]).tolist(), (second * own[1] * slower_by).tolist()
    found = [round_log_ratio(a, b) for a, b in zip(*sides, strict=True)]
    return [found[place : place + most] for place in range(0, len(found), most)]


def taken(log_ratios: list[float]) -> list[float]:
    """Return the rounds that are taken by the rule of the grade."""
    rule = GRADES["normal"]
    count = rule.replicates
    for look in rule.looks:
        if interval_reached([math.exp(value) for value in log_ratios[:count]], rule):
            break
        count = look
    return log_ratios[:count]


def medians(random: np.random.Generator, slower_by: float) -> list[list[list[float]]]:
    """Return process medians of either side for each pair, processes going there and back, ten a side."""
    most = GRADES["normal"].most_replicates
    one_s = START_S + TIMED_S
    log_speed = wander(random, PAIRS, 2 * most * one_s + STEP_S)
    each = log_speed[:, : 2 * most * round(one_s / STEP_S)].reshape(PAIRS, 2 * most, -1)
    found = np.exp(np.median(each[:, :, round(START_S / STEP_S) :], axis=2) + random.normal(0, OWN, (PAIRS, 2 * most)))
    places = np.arange(2 * most).reshape(-1, 2)
    places[1::2] = places[1::2, ::-1]
    return [[pair[places[:, 0]].tolist(), (slower_by * pair[places[:, 1]]).tolist()] for pair in found]


def test_equal_pairs_are_called_different_as_seldom_as_designed() -> None:
    """Of 8,000 pairs 2.6 % were; three standard errors of 400 are 2.4 %."""
    verdicts = [compare_rounds(taken(each)).verdict for each in rounds(np.random.default_rng(1), 1.0)]
    called = sum(verdict in ("faster", "slower") for verdict in verdicts) / PAIRS
    assert 0.0 < called <= 0.05


def test_five_percent_more_is_found() -> None:
    verdicts = [compare_rounds(taken(each)).verdict for each in rounds(np.random.default_rng(2), 1.05)]
    assert verdicts.count("slower") / PAIRS >= 0.90


def test_process_medians_find_far_fewer_under_the_same_wander() -> None:
    """With ten processes a side, which is as many as there may be."""
    found = [compare(a, b).verdict for a, b in medians(np.random.default_rng(2), 1.05)]
    assert found.count("slower") / PAIRS < 0.20


@pytest.mark.parametrize(("block_s", "least", "most"), [(0.025, 0.008, 0.015), (0.05, 0.018, 0.03), (0.1, 0.035, 0.06)])
def test_the_error_of_a_round_grows_with_the_length_of_a_block(block_s: float, least: float, most: float) -> None:
    """Why blocks are short: without anything of its own, a process of 1.2 s leaves 1.2 % at 25 ms, 4 % at 0.1 s."""
    random = np.random.default_rng(3)
    length_s = 2 * TIMED_S * (block_s + REWARM_S + HANDOVER_S) / block_s + STEP_S
    first, second = blocks(wander(random, PAIRS, length_s), block_s)
    errors = [round_log_ratio(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert least < float(np.std(errors)) < most


def jumps(random: np.random.Generator, series: int, seconds: float) -> Floats:
    """Return log speeds of a machine that is at one of two speeds, a factor of two apart, for a second on average."""
    changes = random.random((series, math.ceil(seconds / STEP_S))) < STEP_S / SCALE_S
    changes[:, 0] |= random.random(series) < 0.5
    return np.asarray(math.log(2) * (np.cumsum(changes, axis=1) % 2), dtype=np.float64)


@pytest.mark.parametrize(("machine", "mean_is_worse", "medians_are_worse"), [(wander, 0.7, 1.7), (jumps, 8.0, 20.0)])
def test_the_median_over_pairs_is_the_estimate_of_a_round(
    machine: Callable[[np.random.Generator, int, float], Floats], mean_is_worse: float, medians_are_worse: float
) -> None:
    """The mean of pairs is as good where the machine wanders, and useless where it jumps; both sides' own medians are
    not to be used in either."""
    length_s = 2 * TIMED_S * (BLOCK_S + REWARM_S + HANDOVER_S) / BLOCK_S + STEP_S
    noise = np.random.default_rng(5)
    first, second = blocks(machine(np.random.default_rng(4), PAIRS, length_s), BLOCK_S)
    first, second = (side * np.exp(noise.normal(0, 0.005, side.shape)) for side in (first, second))
    chosen = np.std([round_log_ratio(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    mean = np.std(np.log(second / first).mean(axis=1))
    medians_apart = np.std(np.log(np.median(second, axis=1) / np.median(first, axis=1)))
    assert mean > mean_is_worse * chosen
    assert medians_apart > medians_are_worse * chosen
