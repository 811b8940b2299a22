"""Serve one bundle: a long-lived process that answers queries and tells what it did.

    python -m agent.serve.worker ORDER.json

stdout, JSON lines: `ready`, `metrics`, `error`, `answer`, `paused`, `resumed`. stdin, JSON lines: `{"do": "stop"}`,
`pause`, `resume`, and `{"do": "infer", "id": …, "query": [[…]]}`. Ends with 0 on `stop` and at the end of stdin. A bad
query is counted and answered with its reason; an engine that fails ends the process, because its state is unknown.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from agent.errors import AgentError, ConfigurationError
from agent.measure.worker import prepare_process
from agent.serve.orders import ServeOrder, read_serve_order

BAD_COMMAND = {"do": "bad_command"}
LONGEST_LINE_BYTES = 16 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Serve what the order in the file that `arguments` names says; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m agent.serve.worker ORDER.json", file=sys.stderr)
        return 2
    try:
        return serve(read_serve_order(Path(arguments[0]).read_bytes()))
    except (OSError, ConfigurationError) as exc:
        say("error", reason="configuration_invalid", detail=str(exc))
        return 3
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
    from agent.serve.loop import ServingLoop

    commands: SimpleQueue[dict[str, Any]] = SimpleQueue()
    loop = ServingLoop(order, commands, say)
    threading.Thread(target=_read_commands, args=(commands,), name="commands", daemon=True).start()
    loop.run()
    return 0


def say(event: str, **fields: Any) -> None:
    """Tell the parent: one JSON line."""
    print(json.dumps({"event": event, **fields}), flush=True)


def _read_commands(commands: "SimpleQueue[dict[str, Any]]") -> None:
    for line in _lines(0):
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        commands.put(command if isinstance(command, dict) else BAD_COMMAND)
    commands.put({"do": "stop"})


def _lines(descriptor: int) -> Iterator[bytes]:
    """Yield lines as they come. `sys.stdin` would do, but the interpreter aborts if it ends while a thread reads it."""
    pending = b""
    while chunk := os.read(descriptor, 65536):
        *whole, pending = (pending + chunk).split(b"\n")
        yield from whole
        if len(pending) > LONGEST_LINE_BYTES:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
