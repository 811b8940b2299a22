"""What the agent needs on a device, and what to do where it is missing.

Decides: which checks there are, and their order. Leaves out: the checks (beside this file) and printing.
Each reads below a `root`, so that trees recorded from boards can be looked at as well.
"""

import os
from pathlib import Path

from agent.config import AgentConfig
from agent.device.checkup import kernel, network, serving, software, storage, vendor
from agent.device.checkup.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "check_up", "served"]


def check_up(config: AgentConfig | None, root: Path = Path("/")) -> list[Finding]:
    """Return all findings; without a configuration those that need none."""
    findings = [
        software.python(),
        software.word_size(),
        software.engines(config),
        *vendor.engines(root),
        software.kernels(),
        software.linker(),
        kernel.memory_cap(root),
        kernel.pressure(root),
        kernel.sandbox(),
        kernel.clock(),
    ]
    if config is not None:
        findings += [*storage.disk(config, root), software.cache(config)]
        findings += served(config, owner_of_state(config))
        findings += [network.broker(config), *network.enrolment(config)]
    return findings


def served(config: AgentConfig, account: tuple[int, int] | None) -> list[Finding]:
    """Return what is to be said of a configuration's keys, packages, files and folders.

    Args:
        config: With absolute paths.
        account: User and group that the agent runs as, where this process is root's; null: as this process.
    """
    from agent.install.system import acting_as

    findings = [serving.trusted_keys(config), *serving.packages(config), *serving.login(config)]
    with acting_as(account):
        return [*findings, *serving.files(config)]


def owner_of_state(config: AgentConfig) -> tuple[int, int] | None:
    """Return the user and group that the agent runs as: the owner of its state; null where that is not told."""
    from agent.install.system import owner_of

    return owner_of(config.state_dir) if os.path.isdir(config.state_dir) else None
