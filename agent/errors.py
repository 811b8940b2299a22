"""Errors of the agent. Each carries a `reason` (crosses the wire, documented) and the exit code of a command.

The message says what was wrong, where, and what to do next.
"""


class AgentError(Exception):
    """Base of this package's errors."""

    reason = "agent_error"
    exit_code = 1


class ConfigurationError(AgentError):
    """The agent's configuration file or a variable does not say what it must."""

    reason = "configuration_invalid"
    exit_code = 3


class NotFound(AgentError):
    """A bundle, file or workload that is asked for is not there."""

    reason = "not_found"
    exit_code = 4


class BadBundle(AgentError):
    """A bundle's files do not form what its manifest says."""

    reason = "bad_bundle"
    exit_code = 5


class BadQuery(AgentError):
    """A query does not fit the bundle's specification: shape, dtype, or values that it refuses."""

    reason = "bad_query"
    exit_code = 5


class EngineUnavailable(AgentError):
    """The engine that a bundle needs is not installed, or not allowed on this device."""

    reason = "engine_missing"
    exit_code = 5


class ScenarioUnfit(AgentError):
    """The bundle, or this device, cannot do what a trial's scenario and settings ask for."""

    reason = "scenario_unfit"
    exit_code = 5


class BatchFixed(ScenarioUnfit):
    """The model takes one query at a time: its batch axis is fixed, or its answers change in a batch."""

    reason = "batch_fixed"
    exit_code = 5


class WorkerNotStarted(AgentError):
    """A worker process ended before its own main had begun, or could not read its order: no fault of the bundle."""

    reason = "worker_not_started"
    exit_code = 1


class EngineFailed(AgentError):
    """An engine refused a model, or failed while it ran."""

    reason = "engine_failed"
    exit_code = 5


class BrokerUnreachable(AgentError):
    """No broker answers, or it refuses the credentials."""

    reason = "broker_unreachable"
    exit_code = 6


class TrustError(AgentError):
    """A key or signature does not hold."""

    reason = "trust"
    exit_code = 11


class DiskFull(AgentError):
    """The device's disk has no room."""

    reason = "disk_full"
    exit_code = 12


class Slower(AgentError):
    """`agent bench --compare` found the bundle slower than the other."""

    reason = "slower"
    exit_code = 15


class NoVerdict(AgentError):
    """`agent bench --compare` cannot say which bundle is faster: too few processes, or numbers that do not compare."""

    reason = "no_verdict"
    exit_code = 16


class SpeedVoid(AgentError):
    """`agent bench` measured a bundle whose speed must not be used: something else was at work, or it never settled."""

    reason = "speed_void"
    exit_code = 16
