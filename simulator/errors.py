"""Errors of the simulator. Each carries a `reason` and the exit code of a command.

The message says what was wrong, where, and what to do next.
"""


class SimulatorError(Exception):
    """Base of this package's errors."""

    reason = "simulator_error"
    exit_code = 1


class ConfigurationError(SimulatorError):
    """An option, the classes' file or the trusted keys do not say what they must."""

    reason = "configuration_invalid"
    exit_code = 3


class TooFewFiles(SimulatorError):
    """This system does not let a process hold a connection for each of its devices."""

    reason = "too_few_files"
    exit_code = 3


class BrokerUnreachable(SimulatorError):
    """No simulated device was connected when the run ended."""

    reason = "broker_unreachable"
    exit_code = 6


class ProcessEnded(SimulatorError):
    """A process of the simulator ended before the run did."""

    reason = "process_ended"
    exit_code = 1
