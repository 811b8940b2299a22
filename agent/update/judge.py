"""Whether a desired document is taken, and whether this device can do what it asks. Pure.

Decides: refusals (which change no state) and the faults that CHECK finds. Leaves out: the signature (`trust.py`), which
was verified before, and what follows (`machine.py`).
"""

from agent.update.vocabulary import Facts, Saved
from wire.device_state import FAILURES, State
from wire.update import Desired, ReportedError

DISK_MARGIN_BYTES = 16 * 1024 * 1024
"""Left free beside a bundle: logs, saved states and trial records must go on."""

ENGINE_MISSING = ReportedError(code="engine_missing", error_class="incompatible")


def refusal(saved: Saved, desired: Desired, facts: Facts) -> ReportedError | None:
    """Return why `desired` is not even looked at, or None.

    A document of the present generation is no refusal: it is answered with a report.
    """
    here = (facts.fleet, facts.device, saved.workload)
    meant = (desired.fleet, desired.device, desired.workload)
    if meant != here:
        return _refused("not_for_us", f"the document is for {'/'.join(meant)}, this is {'/'.join(here)}")
    newest = max(saved.gen, saved.next_desired.gen if saved.next_desired is not None else 0)
    if desired.gen < newest:
        return _refused("old_generation", f"generation {desired.gen} came after {newest}")
    if desired.epoch < saved.epoch:
        return _refused("old_epoch", f"epoch {desired.epoch} came after {saved.epoch}: another controller commands")
    if desired.gen > newest and desired.expires_s < facts.now_s:
        late_s = facts.now_s - desired.expires_s
        return _refused("expired", f"the document expired {late_s:.0f} s ago; what serves goes on serving")
    return None


def is_new_attempt(saved: Saved, desired: Desired) -> bool:
    """Return whether a document of the present generation asks for another attempt: it failed, and the nonce is new."""
    ended = saved.state in FAILURES or saved.state is State.INCOMPATIBLE
    known = (saved.retry_nonce, saved.desired.retry_nonce if saved.desired is not None else "")
    return ended and desired.gen == saved.gen and desired.retry_nonce not in ("", *known)


def check_document(saved: Saved, desired: Desired, facts: Facts) -> ReportedError | None:
    """Return why this device cannot or may not run the bundle, or None. The error's class says which."""
    if desired.bundle is None:
        return ReportedError(code="bad_bundle", error_class="terminal", detail="the document names no bundle")
    digest = desired.bundle.digest
    if digest in saved.quarantined and desired.retry_nonce in ("", saved.retry_nonce):
        detail = f"bundle {digest[:12]} was rolled back here: only a document with a new retry nonce frees it"
        return ReportedError(code="quarantined", error_class="terminal", detail=detail)
    if desired.engine not in facts.engines:
        known = ", ".join(sorted(facts.engines)) or "none"
        return ENGINE_MISSING.model_copy(update={"detail": f"engine {desired.engine} is not here; here: {known}"})
    needed = desired.bundle.size_bytes + desired.bundle.wire_bytes + DISK_MARGIN_BYTES
    if digest not in facts.complete and needed > facts.disk_free_bytes:
        detail = f"{needed} bytes needed, {facts.disk_free_bytes} free: free some space, then deploy again"
        return ReportedError(code="disk_full", error_class="incompatible", detail=detail)
    return None


def _refused(code: str, detail: str) -> ReportedError:
    return ReportedError(code=code, error_class="refused", detail=detail)
