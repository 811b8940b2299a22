"""A leader in a process of its own, for tests that kill it.

    python -m tests.e2e.service_child ROOT PORT BUNDLE DEVICE…

It starts a rollout of BUNDLE to the devices, prints its id, and leads until it is killed.
"""

import sys
import time
from pathlib import Path

from controller.mqtt import BrokerSettings
from controller.service import Service
from controller.workspace import Workspace
from tests.e2e.service_kit import FLEET, spec_of


def main() -> None:
    root, port, bundle, *devices = sys.argv[1:]
    with Service(Workspace(Path(root)), BrokerSettings(port=int(port)), [FLEET]) as service:
        service.wait_for_devices(FLEET, lambda seen: sum(each.online for each in seen) >= len(devices), 20)
        print(service.start_rollout(spec_of(bundle, devices)), flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
