"""A worker that does what no worker should, as its order says. Test code only: `python misbehaving.py ORDER.json`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BLOCK = 8 * 1024 * 1024


def main() -> None:
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_bytes())
    print(order.get("say", ""), flush=True)
    if "children" in order:
        Path(order["children"]).write_text(json.dumps(begin_children()))
    {"answer": answer, "hang": hang, "eat": eat, "eat_in_child": eat_in_child, "die": die, "leave": leave}[order["do"]](
        order
    )


def answer(order: dict[str, Any]) -> None:
    litter()
    kept = {name: os.environ[name] for name in sorted(os.environ)}
    laid = {path.name: str(path.resolve()) for path in Path(os.environ["PYTHONPATH"]).iterdir()}
    found = {"variables": kept, "path": sys.path, "here": os.getcwd(), "laid_on_the_path": laid}
    result = {"outcome": "ok", **found}
    Path(order["result_path"]).write_text(json.dumps(result))


def litter() -> None:
    Path("left-here.bin").write_bytes(b"x")
    Path(os.environ["TMPDIR"], "left-there.bin").write_bytes(b"x")


def hang(_order: dict[str, Any]) -> None:
    while True:
        time.sleep(1)


def eat(_order: dict[str, Any]) -> None:
    eaten = []
    while True:
        eaten.append(b"\xff" * BLOCK)


def eat_in_child(order: dict[str, Any]) -> None:
    child = {**order, "do": "eat"}
    path = Path("child.json")
    path.write_text(json.dumps({key: value for key, value in child.items() if key != "children"}))
    subprocess.run([sys.executable, __file__, str(path)], check=False)
    hang(order)


def die(order: dict[str, Any]) -> None:
    if (number := order.get("signal")) is not None:
        os.kill(os.getpid(), number)
    sys.exit(order.get("code", 0))


def leave(order: dict[str, Any]) -> None:
    Path(order["result_path"]).write_text(order["result"])


def begin_children() -> list[int]:
    """Begin one child in this group, and one that has left it; both would sleep for long."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    return [subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    main()
