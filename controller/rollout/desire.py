"""From a decision's action to the desired document that a device gets.

Decides: what stands in the document. Leaves out: whether it is written (`decide`), and the signature (`Documents`).
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sqlalchemy.orm import Session

from controller.distribute.documents import VALID_S, Documents
from controller.errors import NotFound
from controller.leadership import Leadership
from controller.rollout.policy import RolloutPolicy
from controller.store import desired, tables
from wire.artifact import ArtifactRef
from wire.manifest import BundleManifest
from wire.update import Desired

log = logging.getLogger(__name__)

_KEPT = ("bundle", "format", "engine", "limits", "probation_s")


class BundleSource(Protocol):
    """What is needed of the artifact store."""

    def ref(self, digest: str) -> ArtifactRef: ...
    def manifest(self, digest: str) -> Any: ...


class Desires:
    """Writes the documents of a rollout; each method returns the generation that it wrote."""

    def __init__(
        self, bundles: BundleSource, documents: Documents, leadership: Leadership, clock: Callable[[], float]
    ) -> None:
        self._bundles = bundles
        self._documents = documents
        self._leadership = leadership
        self._clock = clock

    def check_bundles(self, digests: Iterable[str]) -> None:
        """Refuse bundles that are not in the artifact store.

        Raises:
            NotFound: One is missing.
        """
        for digest in digests:
            self._fields(digest)

    def offer(self, session: Session, row: tables.Rollout, member: tables.RolloutDevice, policy: RolloutPolicy) -> int:
        """Ask a device for the rollout's bundle; one that it had quarantined needs a nonce of the operator's."""
        return self._write(
            session,
            row,
            member,
            action="run",
            **self._fields(member.bundle),
            previous=member.previous,
            limits=member.limits or {},
            probation_s=policy.probation_s,
            deadline_s=policy.deadline_s,
            retry_nonce=row.retry_nonce,
        )

    def restore(self, session: Session, row: tables.Rollout, member: tables.RolloutDevice, bundle: str | None) -> int:
        """Take a device back to `bundle`; without one it serves nothing, as before."""
        if bundle is None:
            return self._write(session, row, member, action="remove")
        fields = self._former(member, bundle)
        if fields is None:
            log.error("%s cannot be taken back to %s: the bundle is not in this workspace; held", member.device, bundle)
            return self.hold(session, row, member)
        return self._write(session, row, member, action="run", previous=member.bundle, **fields)

    def hold(self, session: Session, row: tables.Rollout, member: tables.RolloutDevice) -> int:
        """Stop an update that has not switched; what runs goes on."""
        return self._write(session, row, member, action="hold")

    def _former(self, member: tables.RolloutDevice, bundle: str) -> dict[str, Any] | None:
        known = member.previous_document or {}
        if known.get("bundle", {}).get("digest") == bundle:
            return {
                name: known[name] for name in ("bundle", "format", "engine", "limits", "probation_s") if name in known
            }
        try:
            return self._fields(bundle)
        except NotFound:
            return None

    def _fields(self, digest: str) -> dict[str, Any]:
        try:
            manifest = self._bundles.manifest(digest)
            if not isinstance(manifest, BundleManifest):
                raise NotFound(f"artifact {digest} is no bundle: a rollout takes bundles")
            ref = self._bundles.ref(digest)
        except (OSError, KeyError) as exc:
            raise NotFound(f"bundle {digest} is not in this workspace: {exc}") from exc
        return {"bundle": ref.model_dump(mode="json"), "format": manifest.format, "engine": manifest.engine}

    def _write(self, session: Session, row: tables.Rollout, member: tables.RolloutDevice, **fields: Any) -> int:
        now_s = self._clock()
        gen = desired.next_gen(session, row.fleet, member.device, row.workload)
        document = Desired.model_validate(
            {
                "fleet": row.fleet,
                "device": member.device,
                "workload": row.workload,
                "gen": gen,
                "epoch": self._leadership.epoch,
                "rollout": row.id,
                "wave": member.wave,
                "issued_s": now_s,
                "expires_s": now_s + VALID_S,
                **fields,
            }
        )
        self._documents.write_desired(session, document)
        return gen
