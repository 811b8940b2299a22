"""Policies fail closed; waves spread canaries over classes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.rollout.assign import Candidate, assign_waves
from controller.rollout.policy import RolloutPolicy


@pytest.mark.parametrize(
    "fields",
    [
        {"waves": []},
        {"waves": [{"devices": 1}]},
        {"waves": [{"devices": 0}, {"ratio": 1.0}]},
        {"waves": [{"ratio": 0.0}, {"ratio": 1.0}]},
        {"waves": [{"ratio": 1.0}, {"ratio": 1.0}]},
        {"waves": [{"devices": 1, "ratio": 0.1}, {"ratio": 1.0}]},
        {"waves": [{"devices": 2}, {"devices": 1}, {"ratio": 1.0}]},
        {"gate": {"max_failure_ratio": 1.0}},
        {"gate": {"max_failure_ratio": float("nan")}},
        {"gate": {"max_failure_ratio": "a few"}},
        {"gate": {"max_failure_ratoi": 0.1}},
        {"gate": {"quorum_ratio": 0.0}},
        {"gate": {"min_sample": 0}},
        {"gate": {"timeout_s": float("inf")}},
        {"gate": {"error_rate": {"margin_ratio": 0.0}}},
        {"gate": {"latency": {"max_p95_ms": float("inf")}}},
        {"deadline_s": 0},
        {"silence_s": -1},
        {"approval": "maybe"},
    ],
)
def test_what_could_never_fire_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RolloutPolicy.model_validate(fields)


def test_a_policy_survives_the_database() -> None:
    policy = RolloutPolicy.model_validate({"gate": {"error_rate": {"margin_ratio": 0.02}}, "soak_s": 5})
    assert RolloutPolicy.model_validate_json(policy.model_dump_json()) == policy


def test_every_class_has_its_canary_and_those_present_come_first() -> None:
    fleet = [Candidate(f"a{number}", "a", online=number == 2) for number in range(3)]
    fleet += [Candidate("b0", "b"), Candidate("b1", "b"), Candidate("c0", "c", online=False)]
    waves = assign_waves(RolloutPolicy(), "r1", fleet)
    assert waves["a2"] == 0
    assert waves["c0"] == 0
    assert sorted(waves[name] for name in ("b0", "b1")) == [0, 1]
    assert [waves[name] for name in ("a0", "a1")] == [1, 1]


POLICY = RolloutPolicy.model_validate({"waves": [{"devices": 2}, {"ratio": 0.25}, {"ratio": 0.5}, {"ratio": 1.0}]})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.randoms(use_true_random=False))
def test_waves_cover_the_fleet_once_whatever_its_order(members: list[tuple[str, bool]], random: Any) -> None:
    fleet = [Candidate(f"d{number}", name, online) for number, (name, online) in enumerate(members)]
    waves = assign_waves(POLICY, "r1", fleet)
    assert waves.keys() == {each.device for each in fleet}
    shuffled = fleet.copy()
    random.shuffle(shuffled)
    assert assign_waves(POLICY, "r1", shuffled) == waves
    for name in "abc":
        own = [each for each in fleet if each.device_class == name]
        for number, wave in enumerate(POLICY.waves):
            reached = sum(waves[each.device] <= number for each in own)
            assert reached == max(earlier.reach(len(own)) for earlier in POLICY.waves[: number + 1])
            assert wave.reach(len(own)) <= len(own)


def test_another_rollout_has_other_canaries() -> None:
    fleet = [Candidate(f"d{number}", "a") for number in range(20)]
    first = {
        next(name for name, wave in assign_waves(RolloutPolicy(), f"r{number}", fleet).items() if wave == 0)
        for number in range(20)
    }
    assert len(first) > 5
