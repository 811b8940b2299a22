"""A deploy's lease on its row: renewed while the process lives, so that another may take over when it dies.

Decides: how often it is renewed. Leaves out: what a lease means (`controller/store/deployments.py`).
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from controller.errors import Busy, ControllerError
from controller.store import deployments
from controller.store.database import Store

RENEW_S = deployments.LEASE_S / 3


class Lease:
    """Holds a deployment while the `with` block runs; a thread renews it, since stages may take minutes."""

    def __init__(self, store: Store, deployment: str, owner: str, clock: Callable[[], float]) -> None:
        self._store, self._deployment, self._owner, self._clock = store, deployment, owner, clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="deploy-lease", daemon=True)
        self.lost = False

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            Busy: Another process works on this deployment.
        """
        self._claim()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with self._store.begin() as session:
            row = deployments.get(session, self._deployment)
            if row.owner == self._owner:
                row.owner, row.lease_s = None, None

    def check(self) -> None:
        """Refuse to go on when the lease was lost.

        Raises:
            Busy: This process was too slow to renew it, and another took the deployment on.
        """
        if self.lost:
            raise Busy(f"deployment {self._deployment} was taken over by another process: this one stops")

    def _claim(self) -> None:
        with self._store.begin() as session:
            deployments.claim(session, self._deployment, self._owner, now_s=self._clock())

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self._claim()
            except Busy:
                self.lost = True
                return
            except ControllerError:
                continue  # a locked or full database: the lease outlives two tries
