"""Serve one bundle: a long-lived process that answers queries and tells what it did.

    python -m agent.serve.worker ORDER.json

stdout, JSON lines: `ready`, `metrics`, `error`, `answer`. stdin, JSON lines: `{"do": "attach"}` with a file descriptor
(the channel on which the gateway asks, `channel.py`), `{"do": "stop"}`, and `{"do": "infer", "id": …, "query": [[…]]}`.
Ends with 0 on `stop`, once its channel is empty, and at the end of stdin. A bad query, or one for which there is not
memory enough, is counted and answered with its reason; an engine that fails ends the process, because its state is
unknown, and so does whatever keeps it from hearing commands.
"""

import json
import sys
from pathlib import Path
from typing import Any

from agent.errors import AgentError, ConfigurationError
from agent.inference.order import prepare_process
from agent.serve.orders import ServeOrder, read_serve_order


def main(arguments: list[str]) -> int:
    """Serve what the order in the file that `arguments` names says; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m agent.serve.worker ORDER.json", file=sys.stderr)
        return 2
    try:
        order = read_serve_order(Path(arguments[0]).read_bytes())
    except (OSError, ConfigurationError) as exc:
        say("error", reason="configuration_invalid", detail=str(exc))
        return 3
    return attempt(order)


def attempt(order: ServeOrder) -> int:
    """Serve; tell what ended it in a way that we know, and return the exit code."""
    try:
        return serve(order)
    except OSError as exc:  # of the system and not of the order: a file that is gone, a full disk
        say("error", reason="worker_crashed", detail=f"{type(exc).__name__}: {exc}")
        return 1
    except (AgentError, MemoryError) as exc:
        reason = exc.reason if isinstance(exc, AgentError) else "out_of_memory"
        say("error", reason=reason, detail=str(exc))
        return exc.exit_code if isinstance(exc, AgentError) else 1


def serve(order: ServeOrder) -> int:
    """Load the bundle and answer until told to stop.

    Raises:
        AgentError: The bundle, engine or order is faulty, or the engine failed while it ran.
        MemoryError: There was not enough.
    """
    prepare_process(order, say)
    from agent.serve.commands import CommandReader
    from agent.serve.loop import ServingLoop

    ServingLoop(order, CommandReader(), say).run()
    return 0


def say(event: str, **fields: Any) -> None:
    """Tell the parent: one JSON line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")  # one piece: two threads speak
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
