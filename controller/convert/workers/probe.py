"""Say which Python and which packages an environment holds, and import those that are named.

Order: `{"import": ["torch", …]}`. Result: `python`, `executable`, `versions`, and `environment`, the variables that the
runner sets. It is run at the end of an installation: what cannot be imported is not installed.
"""

import importlib
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

from controller.convert.workers.frame import Unusable, carry_out, installed_versions

SHOWN = ("ORT_DISABLE_TELEMETRY", "OMP_NUM_THREADS", "PYTHONHASHSEED", "TMPDIR")


def probe(order: Mapping[str, Any]) -> dict[str, Any]:
    """Import the order's modules and return what this environment is.

    Raises:
        Unusable: A module cannot be imported.
    """
    for name in order.get("import", ()):
        try:
            importlib.import_module(name)
        except Exception as exc:  # a package may raise anything while it is imported, and any of it means: unusable
            raise Unusable(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": installed_versions(),
        "environment": {name: os.environ[name] for name in SHOWN if name in os.environ},
    }


if __name__ == "__main__":
    sys.exit(carry_out(probe, sys.argv))
