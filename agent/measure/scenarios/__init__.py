"""How queries come while a process is timed, and what one sample of each scenario is.

Decides: which module stands for which scenario, and what a scenario refuses. Leaves out: when a process is warm and how
much is enough (`agent/measure/protocol.py`).

    course = run_course(subject, rule, "server", settings)
"""

from agent.errors import ScenarioUnfit
from agent.measure.protocol import GradeRule
from agent.measure.scenarios.arrivals import run_arrivals
from agent.measure.scenarios.batches import offline, streams
from agent.measure.scenarios.loop import Course, Loop, Subject, run_loop
from wire.trial import Scenario, ScenarioSettings

__all__ = ["Course", "Subject", "check_settings", "queries_at_once", "run_course"]


def run_course(subject: Subject, rule: GradeRule, scenario: Scenario, settings: ScenarioSettings) -> Course:
    """Warm up, then time queries as they come in `scenario`.

    Raises:
        ScenarioUnfit: The bundle cannot do that.
        AgentError: A query or the engine failed.
    """
    check_settings(scenario, settings)
    if scenario == "multi_stream":
        return streams(subject, rule, settings.streams)
    if scenario == "offline":
        return offline(subject, rule, settings)
    if scenario in ("server", "paced"):
        return run_arrivals(subject, rule, scenario, settings)
    return run_loop(Loop(subject.pipeline, subject.queries), rule)


def queries_at_once(scenario: Scenario, settings: ScenarioSettings) -> int:
    """Return how many queries the engine is given at once, where the model takes a batch."""
    return {"offline": settings.batch, "multi_stream": settings.streams}.get(scenario, 1)


def check_settings(scenario: Scenario, settings: ScenarioSettings) -> None:
    """Refuse settings that would be said of a record and not hold in it.

    Raises:
        ScenarioUnfit: A batch outside of `offline`.
    """
    if settings.batch > 1 and scenario != "offline":
        raise ScenarioUnfit(f"a batch of {settings.batch} belongs to the scenario offline, asked for in {scenario}")
