"""What the agent needs on a device, and what to do where it is missing.

Decides: which checks there are, and their order. Leaves out: the checks (beside this file) and printing.
Each reads below a `root`, so that trees recorded from boards can be looked at as well.
"""

from pathlib import Path

from agent.config import AgentConfig
from agent.device.checkup import kernel, network, software, storage, vendor
from agent.device.checkup.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "check_up"]


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
        findings += [network.broker(config), *network.enrolment(config)]
    return findings
