"""Errors of the controller. Each carries a `reason` (documented, stored, shown) and the exit code of a command.

The message says what was wrong, where, and what to do next.
"""


class ControllerError(Exception):
    """Base of this package's errors."""

    reason = "controller_error"
    exit_code = 1


class ConfigurationError(ControllerError):
    """A YAML file, a flag or a variable does not say what it must."""

    reason = "configuration_invalid"
    exit_code = 3


class NotFound(ControllerError):
    """A fleet, model, device, rollout, trial or report that is asked for is not there."""

    reason = "not_found"
    exit_code = 4


class ConverterMissing(NotFound):
    """A converter environment is not, or not wholly, installed; the text names the command that installs it."""

    reason = "converter_missing"


class UnusableModel(ControllerError):
    """A model or its data cannot be used: it does not load, has another shape, or is empty."""

    reason = "model_unusable"
    exit_code = 5


class UnusableData(UnusableModel):
    """Calibration or evaluation data are missing, empty, or of another shape than the model takes."""

    reason = "data_unusable"


class ConversionFailed(UnusableModel):
    """A converter crashed, hung, took too much memory or left no result; the model was not converted."""

    reason = "conversion_failed"


class ConversionFlagged(UnusableModel):
    """A conversion was made and answers otherwise than its source: it is kept beside the model and never deployed."""

    reason = "conversion_flagged"


class BrokerUnreachable(ControllerError):
    """No broker answers, or it refuses the credentials."""

    reason = "broker_unreachable"
    exit_code = 6


class NoDevice(ControllerError):
    """No device of a class is present."""

    reason = "no_device"
    exit_code = 7


class NoFeasibleVariant(ControllerError):
    """For a class, no measured variant keeps all limits."""

    reason = "no_feasible_variant"
    exit_code = 8


class Busy(ControllerError):
    """Another deploy of the same fleet and workload runs."""

    reason = "busy"
    exit_code = 9


class RolloutFailed(ControllerError):
    """A rollout ended without reaching its fleet: rolled back, aborted, or superseded."""

    reason = "rollout_failed"
    exit_code = 10


class TrustError(ControllerError):
    """A signing key is missing or unusable."""

    reason = "trust"
    exit_code = 11


class DiskFull(ControllerError):
    """The workspace's disk has no room."""

    reason = "disk_full"
    exit_code = 12


class ConverterNotInstalled(ControllerError):
    """A converter environment could not be made: no network, a wrong digest, or packages that do not work here."""

    reason = "converter_not_installed"
    exit_code = 13


class PythonMissing(ConverterNotInstalled):
    """No Python of the version that a converter environment needs is found, or it can make no environments."""

    reason = "python_missing"


class EmulatorMissing(NotFound):
    """The emulator of another processor is not installed, or too old; the text names the package."""

    reason = "emulator_missing"


class ProbeRootMissing(NotFound):
    """What an emulated processor runs is not installed; the text names the command that installs it."""

    reason = "probe_root_missing"


class ProbeRootNotInstalled(ControllerError):
    """The root for emulated processors could not be made: no mirror, a wrong digest, or it does not work here."""

    reason = "probe_root_not_installed"
    exit_code = 13
