"""Which engine's class stands behind a name. Nothing is loaded until it is asked for."""

import importlib

from agent.errors import EngineUnavailable
from agent.inference.engines.base import Engine
from agent.inference.engines.table import TABLE

ENGINES: dict[str, tuple[str, str]] = {name: (entry.module, entry.attribute) for name, entry in TABLE.items()}
"""engine name -> (module, class)."""


def engine_class(name: str) -> type[Engine]:
    """Return the class of the engine `name`.

    Raises:
        EngineUnavailable: No engine of that name is known to this release.
    """
    if name not in ENGINES:
        raise EngineUnavailable(f"no engine {name!r} in this release: it has {', '.join(sorted(ENGINES))}")
    module, attribute = ENGINES[name]
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found
