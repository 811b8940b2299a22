"""The way to the controller: does the broker answer, and has the controller accepted this device's claim?"""

import socket

from agent.config import AgentConfig
from agent.device.checkup.finding import Finding

CONNECT_TIMEOUT_S = 3.0


def broker(config: AgentConfig) -> Finding:
    """Look whether anything listens where the broker should be."""
    where = f"{config.broker.host}:{config.broker.port}"
    try:
        socket.create_connection((config.broker.host, config.broker.port), CONNECT_TIMEOUT_S).close()
    except OSError as exc:
        remedy = "start the broker, or correct broker.host and broker.port; the agent keeps trying and serves meanwhile"
        return Finding("broker", "warning", f"{where} does not answer ({exc})", remedy)
    return Finding("broker", "ok", f"{where} answers")


def enrolment(config: AgentConfig) -> list[Finding]:
    """Look at the claim; nothing is said of a device that never made one, which works all the same."""
    from agent.install.claim import read_claim

    saved = read_claim(config.state_dir)
    if saved is None:
        return []
    if saved.state == "accepted":
        return [Finding("enrolment", "ok", f"{saved.claim.device} of {saved.claim.fleet}")]
    if saved.answer is not None:
        found = f"the controller refuses the claim ({saved.answer.reason})"
        remedy = f"ask for a token (`controller fleet enrol {saved.claim.fleet}`) and run `agent enrol`"
        return [Finding("enrolment", "warning", found, remedy)]
    remedy = "wait until the agent and the controller are both connected to the broker"
    return [Finding("enrolment", "warning", "the claim is not answered yet", remedy)]
